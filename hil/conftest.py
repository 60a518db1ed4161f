"""Options of the acceptance suite, what its tests share, and the report at the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil import cover
from hil.loops import build_loops
from hil.place import Place
from hil.record import Record
from hil.report import write_reports
from tinygen.errors import TinygenError
from tinygen.hil.ports import EMULATED, LABWIRED
from tinygen.targets.boards import load_board

_PLACE = pytest.StashKey[Place]()
_RECORD = pytest.StashKey[Record]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("acceptance", "tinygen: acceptance suite")
    group.addoption("--board", default="f746zg", help="name of the board, or its file; default: f746zg")
    group.addoption(
        "--port",
        default=EMULATED,
        help="auto, auto:SERIAL, labgrid:PLACE, a path or a URL; emulated (default), qemu, labwired",
    )
    group.addoption("--power", default=None, metavar="INSTRUMENT", help="ppk2:auto, lpm01a:auto, joulescope")
    group.addoption("--toolchain", default=None, help="zig or gcc; default: what the board prefers")
    group.addoption("--flash-with", default=None, metavar="COMMAND", help="flashes the folder {dir} of a firmware")
    group.addoption("--model", action="append", default=[], metavar="FILE", help="a model to run, too; may be repeated")
    group.addoption("--inputs", default=20, type=int, metavar="N", help="of each model; default: 20")
    group.addoption("--few", action="store_true", help="one firmware of kernels instead of all")
    group.addoption("--out", default=None, metavar="DIR", help="where the report goes; default: first-light-BOARD")


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    try:
        board = load_board(option("--board"))
        place = Place(board, option("--port"), option("--toolchain"), option("--flash-with"))
        place.check()
        config.stash[_PLACE], config.stash[_RECORD] = place, Record(place)
    except TinygenError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "batch" in metafunc.fixturenames:
        place = metafunc.config.stash[_PLACE]
        tried, left = cover.tried_on(place.board.isa)
        metafunc.config.stash[_RECORD].untried(left)
        # What labwired lacks for one family is not to keep the other back.
        found = cover.batches(tried, apart=place.port == LABWIRED)
        few = found[:1] if metafunc.config.getoption("--few") else found
        metafunc.parametrize("batch", few, ids=[batch.model.content.name for batch in few])
    if "model" in metafunc.fixturenames:
        from hil.models import models_of

        found_models = models_of([Path(path) for path in metafunc.config.getoption("--model")])
        metafunc.parametrize("model", found_models, ids=[model.name for model in found_models])


@pytest.fixture(scope="session")
def place(pytestconfig: pytest.Config) -> Place:
    """The board, and where it is."""
    return pytestconfig.stash[_PLACE]


@pytest.fixture(scope="session")
def record(pytestconfig: pytest.Config) -> Record:
    """What is found."""
    return pytestconfig.stash[_RECORD]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For a firmware."""
    yield tmp_path / "firmware"
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def loops(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware of loops.c, on the board."""
    return build_loops(place, tmp_path_factory.mktemp("loops"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Every test is a check of the report."""
    if _current is not None:
        _current.check(report)


_current: Record | None = None


def pytest_sessionstart(session: pytest.Session) -> None:
    global _current
    _current = session.config.stash[_RECORD]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    record = config.stash[_RECORD]
    if not record.checks:
        return
    found = record.finished()
    out = Path(config.getoption("--out") or f"first-light-{found.board}")
    paths = write_reports(found, out)
    terminalreporter.section("first light")
    for line in record.summary():
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"Report: {', '.join(str(path) for path in paths)}")
