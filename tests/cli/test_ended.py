"""Signals at moments that are chosen: imports, worker processes, killed builds; tests/cli/kills.py draws moments."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.cli.ended import SETTLE_SECONDS, end_all, members, started, tinygen, within
from tests.support.streaming_models import SMALL
from tinygen.processes import in_processes

needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
COMPILING = (
    "import time, tinygen.verbs.build as v; v.build_elf = lambda *_: (print('compiling', flush=True), time.sleep(60))"
)
WORKERS = "import time; from tinygen.processes import in_processes as f; list(f(time.sleep, [60, 60], 2))"


@contextmanager
def running(code: str, environment: dict[str, str] | None = None) -> Iterator[Popen[str]]:
    process = started(code, environment)
    try:
        yield process
    finally:
        end_all(process.pid)
        process.communicate()


@pytest.mark.parametrize("module", ["tinygen.files", "typer", "tinygen.cli.app", "rich.text"])
def test_ctrl_c_while_modules_are_imported(module: str) -> None:
    finder = "\n".join(
        [
            "import sys",
            "class Finder:",
            "    def find_spec(self, name, path=None, target=None):",
            f"        if name == {module!r}: signal.raise_signal(signal.SIGINT)",
            "sys.meta_path.insert(0, Finder())",
        ]
    )
    process = started(tinygen(["boards"], finder))
    _, said = process.communicate(timeout=60)
    assert said.strip() == "interrupted" and process.returncode == 130


@pytest.mark.parametrize("linked", ["cause", "context"])
def test_ctrl_c_while_a_module_of_c_is_imported(linked: str) -> None:
    error = f"error = ImportError('initialization failed'); error.__{linked}__ = KeyboardInterrupt(); raise error"
    finder = "\n".join(
        [
            "import sys",
            "class Finder:",
            "    def find_spec(self, name, path=None, target=None):",
            f"        if name == 'tinygen.cli.app': {error}",
            "sys.meta_path.insert(0, Finder())",
        ]
    )
    process = started(tinygen(["boards"], finder))
    _, said = process.communicate(timeout=60)
    assert said.strip() == "interrupted" and process.returncode == 130


def test_work_that_nobody_waits_for_ends_at_once() -> None:
    begun = time.monotonic()
    with closing(in_processes(time.sleep, [0.0, 25.0, 25.0], 3)) as results:
        next(results)
    assert time.monotonic() - begun < 15.0


@needs_proc
def test_ctrl_c_while_workers_start() -> None:
    """All processes of a terminal hear it; only the main one speaks."""
    with running(WORKERS) as process:
        assert within(60.0, lambda: len(members(process.pid)) > 2)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert said.count("Traceback") == 1 and said.rstrip().endswith("KeyboardInterrupt"), said
        assert within(SETTLE_SECONDS, lambda: not members(process.pid))


@needs_proc
def test_workers_of_a_process_that_was_killed_end() -> None:
    with running(WORKERS) as process:
        assert within(60.0, lambda: len(members(process.pid)) > 3)
        time.sleep(0.5)
        process.kill()
        assert within(SETTLE_SECONDS, lambda: not members(process.pid))


def test_what_a_killed_build_leaves_goes_with_the_next(tmp_path: Path) -> None:
    """And while it runs, the folder is its own."""
    temporary, place = tmp_path / "tmp", tmp_path / "place"
    temporary.mkdir()
    place.mkdir()
    (place / "model.tflite").write_bytes(SMALL["accumulator"]())
    (temporary / ".tinygen-of-the-user").write_text("a file")
    environment = {"TMPDIR": str(temporary)}
    arguments = ("build", place / "model.tflite", "--board", "host", "--out", place / "out")
    with running(tinygen(arguments, COMPILING), environment) as first:
        assert first.stdout is not None and first.stdout.readline() == "compiling\n"
        with running(tinygen(arguments, COMPILING), environment) as second:
            _, said = second.communicate(timeout=60)
        assert second.returncode == 1 and "another tinygen is writing there" in " ".join(said.split()), said
        first.kill()
        first.wait()
    assert list(place.glob(".tinygen-*"))
    whole = started(tinygen(arguments), environment)
    _, said = whole.communicate(timeout=120)
    assert whole.returncode == 0, said
    assert sorted(path.name for path in place.iterdir()) == ["model.tflite", "out"]
    assert [path.name for path in temporary.iterdir()] == [".tinygen-of-the-user"]
