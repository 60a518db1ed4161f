"""Options of the acceptance suite, and the firmware it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen.demo import MODEL, load_test_digits
from tinygen.hil.output import HilReport
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions, hil


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("acceptance", "tinygen: acceptance suite")
    group.addoption("--board", default="f746zg", help="name of the board, or its file; default: f746zg")
    group.addoption("--port", default=None, help="auto, auto:SERIAL, a path or a URL; default: the emulated board")
    group.addoption("--firmware", default=None, metavar="DIR", help="the build that was flashed; needed with --port")
    group.addoption("--inputs", default=100, type=int, metavar="N", help="digits to run, of 1,000; default: 100")


@pytest.fixture(scope="session")
def port(request: pytest.FixtureRequest) -> str | None:
    """Where the board is; None for the emulated one."""
    return request.config.getoption("--port")


@pytest.fixture(scope="session")
def firmware(request: pytest.FixtureRequest, port: str | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build directory of the digits."""
    given = request.config.getoption("--firmware")
    if given is not None:
        return Path(given)
    if port is not None:
        pytest.fail("name the build that was flashed: --firmware DIR (see hil/README.md)", pytrace=False)
    folder = tmp_path_factory.mktemp("acceptance") / "digits"
    return build(MODEL, folder, BuildOptions(board=request.config.getoption("--board"))).folder


@pytest.fixture(scope="session")
def digits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of test digits, as codes, and their labels."""
    count = request.config.getoption("--inputs")
    images, labels = load_test_digits()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, x=images[:count], y=labels[:count])
    return path


@pytest.fixture(scope="session")
def report(firmware: Path, port: str | None, digits: Path) -> HilReport:
    """One session on the board."""
    return hil(firmware, HilOptions(port=port, inputs=digits))
