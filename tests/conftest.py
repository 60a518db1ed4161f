"""What all tests share."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support import tally
from tests.support.board_batch import LEVEL
from tests.support.differential import BOARD_CASES, CASES, distinct
from tests.support.quick_export import export_quickly
from tests.support.quick_files import keep_files_in_memory
from tinygen.targets.toolchains.zig_cache import zig_environment

_KEY = "tinygen_cases"
_COUNTS = (CASES, BOARD_CASES, tally.CODES, tally.DIFFERING, tally.INPUTS, tally.OTHER_TOP)

# The same examples at every run, so that a change is what turns a test red; TINYGEN_RANDOM=1 looks for new ones.
settings.register_profile("tinygen", deadline=None, derandomize=not os.environ.get("TINYGEN_RANDOM"))
settings.load_profile("tinygen")

# Hundreds of modules and thousands of tests are there to stay: Python need not look among them for what is garbage.
gc.disable()
_GARBAGE = (20_000, 20, 20)
"""Allocations before a collection of the youngest objects; of how many collections one takes the older ones, too."""

keep_files_in_memory()

# zig builds a library of helpers for each core: once, also where a test calls it by itself.
_zig = zig_environment()
atexit.register(_zig.__exit__, None, None, None)
for _name, _folder in _zig.__enter__().items():
    os.environ.setdefault(_name, _folder)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python hears SIGINT, also where the shell that started the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_collection_finish() -> None:
    export_quickly()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its counts to the main process."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_KEY] = tuple(dict(counts) for counts in _COUNTS)


class _Collector:
    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        found = getattr(node, "workeroutput", {}).get(_KEY, ())
        for counts, new in zip(_COUNTS, found, strict=False):
            counts.update(Counter(new))


def pytest_configure(config: pytest.Config) -> None:
    # Tests say how wide a terminal is; the one that they run in does not count, nor what pytest-xdist says of it.
    os.environ.pop("COLUMNS", None)
    if config.getoption("markexpr") == "long":
        LEVEL.set("-O2")
    config.pluginmanager.register(_Collector())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many models each operator was compared on."""
    if CASES:
        terminalreporter.section("different models compared: oracle, semantics, host C (and in the emulated core)")
        host, core = distinct(CASES), distinct(BOARD_CASES)
        for label in sorted({*host, *core}):
            terminalreporter.write_line(f"{host[label]:6d} ({core[label]:4d})  {label}")
        terminalreporter.write_line(f"{host.total():6d} ({core.total():4d})  in all")
    if tally.CODES:
        terminalreporter.section("codes compared with torch's, differing ones (where float32 rounds over a boundary)")
        for label, count in sorted(tally.CODES.items()):
            terminalreporter.write_line(
                f"{count:9d} {tally.DIFFERING[label]:4d}  {label}; another largest output on "
                f"{tally.OTHER_TOP[label]} of {tally.INPUTS[label]} inputs"
            )
