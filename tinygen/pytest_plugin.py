"""A pytest plugin: tests of a model on its board, in a project of one's own. Installing tinygen installs it.

    import numpy as np
    import pytest

    @pytest.mark.board("f746zg", model="model.tflite")
    def test_answers(device):
        (codes,) = device.infer([np.zeros((1, 28, 28, 1), np.int8)])
        assert codes.argmax() == 3

    @pytest.mark.board("f746zg", "l4r5zi", model="model.tflite")   # once on each
    def test_accuracy(hil_session):
        report = hil_session(inputs="digits.npz", min_accuracy=0.9)
        assert report.passed, report.content["checks"]

Fixtures:

- `board`: the board file as an object (`tinygen.targets.board.Board`).
- `firmware`: the build directory of the marker's `model` (a path, beside the test file if relative) for the board; the
  marker's other arguments are those of `BuildOptions`: `toolchain="gcc"`, `kernels="reference"`. It is built once per
  session of pytest. Override it to give a directory that something else built.
- `device`: the model, ready for inferences (`tinygen.hil.device.Device`: `infer`, `timed`, `select`).
- `hil_session`: runs `tinygen.verbs.hil.hil` on it; takes the names of `HilOptions` and `Limits`, gives a `HilReport`.

Options:

- `--board-port PORT`: "emulated" (default), "qemu", "auto", "auto:SERIAL", a path or a URL, for all boards; or
  `--board-port f746zg=/dev/ttyACM0` for one, and again for another.
- `--board-missing skip|fail`: what becomes of a test whose board is not on its port, or whose emulator is not
  installed; default: fail where the environment variable CI is set, else skip. A board that is there never skips.

Nothing of tinygen's is imported before a test asks for a fixture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from tinygen.hil.device import Device
    from tinygen.hil.output import HilReport
    from tinygen.targets.board import Board

_Result = TypeVar("_Result")
_MARK = "board"
_BUILDS = pytest.StashKey[dict[tuple[Any, ...], Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tinygen", "tinygen: models on boards")
    group.addoption(
        "--board-port",
        action="append",
        default=[],
        metavar="[BOARD=]PORT",
        help="where boards are: emulated (default), qemu, auto, auto:SERIAL, a path or a URL; with BOARD=, that board",
    )
    group.addoption(
        "--board-missing",
        choices=("skip", "fail"),
        default=None,
        help="what becomes of a test whose board is not there; default: fail where CI is set, else skip",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "board(name, ..., model=None, **options): run the test on this board (tinygen), or on each of several",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker(_MARK)
    if marker is not None and "board" in metafunc.fixturenames and len(marker.args) > 1:
        metafunc.parametrize("board", marker.args, indirect=True)


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Board:
    """The board that the test is marked with."""
    from tinygen.targets.boards import load_board

    names = _marker(request).args
    if not names:
        pytest.fail('@pytest.mark.board wants the name of a board: @pytest.mark.board("f746zg")', pytrace=False)
    return _or_fail(lambda: load_board(getattr(request, "param", names[0])))


@pytest.fixture
def firmware(request: pytest.FixtureRequest, board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build directory of the model that the test is marked with."""
    from tinygen.verbs.build import BuildOptions, build

    options = dict(_marker(request).kwargs)
    model = options.pop("model", None)
    if model is None:
        pytest.fail(
            '@pytest.mark.board wants a model: @pytest.mark.board("f746zg", model="model.tflite"); or override the '
            "fixture `firmware`",
            pytrace=False,
        )
    path = request.path.parent / model
    builds = request.config.stash.setdefault(_BUILDS, {})
    key = (path, str(board.path), repr(sorted(options.items())))
    if key not in builds:
        folder = tmp_path_factory.mktemp("firmware") / "build"
        wanted = _or_fail(lambda: BuildOptions(board=str(board.path), **options))
        builds[key] = _or_fail(lambda: build(path, folder, wanted, profile=False).folder)
    return builds[key]


@pytest.fixture
def device(request: pytest.FixtureRequest, board: Board, firmware: Path) -> Iterator[Device]:
    """The model on its board, real or emulated, ready for inferences."""
    from tinygen.hil.device import open_device

    opened = _or_missing(request, lambda: open_device(firmware, port=_port(request, board), count=True))
    _or_fail(opened.__enter__)
    try:
        yield opened
    finally:
        opened.__exit__()


@pytest.fixture
def hil_session(request: pytest.FixtureRequest, board: Board, firmware: Path) -> Callable[..., HilReport]:
    """Runs inputs on the board: `hil_session(inputs="x.npz", limit=100, min_accuracy=0.9)`."""
    from tinygen.hil.checks import Limits
    from tinygen.verbs.hil import HilOptions, hil

    def run(inputs: Path | str | None = None, **asked: Any) -> HilReport:
        limits = Limits(**{name: asked.pop(name) for name in ("min_accuracy", "max_latency_us") if name in asked})
        path = None if inputs is None else request.path.parent / inputs
        options = HilOptions(port=_port(request, board), inputs=path, limits=limits, **asked)
        return _or_missing(request, lambda: hil(firmware, options))

    return run


def _marker(request: pytest.FixtureRequest) -> pytest.Mark:
    marker = request.node.get_closest_marker(_MARK)
    if marker is None:
        pytest.fail('this fixture wants a board: @pytest.mark.board("f746zg")', pytrace=False)
    return marker


def _port(request: pytest.FixtureRequest, board: Board) -> str:
    """Of this board; the last option that fits counts."""
    port = "emulated"
    for option in request.config.getoption("--board-port"):
        name, equals, rest = option.partition("=")
        if not equals or "/" in name or ":" in name:
            port = option
        elif name == board.name:
            port = rest
    return port


def _or_fail(use: Callable[[], _Result]) -> _Result:
    """What `use` gives; the test fails with what it says is wrong, without a traceback of tinygen's own."""
    from tinygen.errors import TinygenError

    try:
        return use()
    except (TinygenError, TypeError) as error:
        text = str(error)
    pytest.fail(text, pytrace=False)


def _or_missing(request: pytest.FixtureRequest, use: Callable[[], _Result]) -> _Result:
    """What `use` gives; where it finds no board, the test is skipped or fails, as the options say."""
    from tinygen.errors import BoardError, DeviceError, ToolchainError

    try:
        return use()
    except (DeviceError, BoardError, ToolchainError) as error:
        text = str(error)
    if (request.config.getoption("--board-missing") or ("fail" if os.environ.get("CI") else "skip")) == "skip":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)
