"""An emulated board as a serial port: programs that know nothing of tinygen speak with it, at the times it predicts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import serial

from tests.hil.faulty import digits_on
from tests.support.command import tinygen
from tinygen.demo import load_test_digits
from tinygen.errors import BoardError, TinygenError
from tinygen.hil.device import Device
from tinygen.targets.emulator import EmulatedBoard
from tinygen.verbs.device import Serving, serve


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_on("f746zg", tmp_path_factory.mktemp("device"))


@contextmanager
def started(*arguments: str | Path) -> Iterator[tuple[dict[str, Any], subprocess.Popen[bytes]]]:
    """`tinygen device`, and what it prints."""
    command = [sys.executable, "-c", "from tinygen.cli import main; main()", "device", *map(str, arguments), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, b"")
        text = b""
        for line in lines:
            text += line
            if line == b"}\n":
                break
        yield json.loads(text), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def lines_until_ready(line: serial.Serial) -> list[bytes]:
    found: list[bytes] = []
    while not found or found[-1] != b"m-ready\r\n":
        found.append(line.readline())
        assert found[-1], f"silence after {found}"
    return found


@pytest.mark.parametrize("ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_any_serial_program_speaks_with_it(ending: signal.Signals, folder: Path, tmp_path: Path) -> None:
    """A stop, however told, is no error, and leaves no link behind."""
    link = tmp_path / "board"
    with started(folder, "--link", link) as (opened, process):
        assert (opened["board"], opened["baud"], opened["cycles"]) == ("f746zg", 115200, "predicted")
        assert os.readlink(link) == opened["port"]
        with serial.Serial(str(link), opened["baud"], timeout=20) as line:
            lines_until_ready(line)
            line.write(b"name%")
            assert any(b"m-name-dut-" in text for text in lines_until_ready(line))
        process.send_signal(ending)
        assert process.wait(20) == 0
    assert not link.is_symlink()


def test_its_times_are_those_that_hil_predicts(folder: Path) -> None:
    with Device(folder, engine="unicorn", count=True) as device:
        sample = [load_test_digits()[0][0]]
        predicted = device.timed(sample)[1]
    with serve(folder) as serving, Device(folder, port=serving.opened.port) as device:
        assert device.timed(sample)[1] == predicted


def test_a_board_that_fails_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(board: EmulatedBoard, size: int, timeout: float) -> bytes:
        raise BoardError("stands still")

    monkeypatch.setattr(EmulatedBoard, "read", fails)
    with pytest.raises(BoardError, match="stands still"), serve(folder) as serving:
        serving.wait()


def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    done = tinygen("device", folder, "--link", taken)
    assert done.returncode != 0 and "the link cannot be made: File exists" in done.stderr
    assert taken.read_text() == "mine"


def test_what_it_says_fits(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Serving, "wait", lambda *_: None)
    done = tinygen("device", folder, "--link", "a board", cwd=tmp_path)
    assert done.returncode == 0 and "115200 baud: a board (/dev/" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_what_took_the_links_place_stays(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "board"
    with serve(folder, link):
        link.unlink()
        link.write_text("mine")
    assert link.read_text() == "mine"


def test_only_emulated_boards(tmp_path: Path) -> None:
    host = digits_on("host", tmp_path / "host")
    with pytest.raises(BoardError, match="has no serial port"), serve(host):
        pass
    with pytest.raises(TinygenError), serve(tmp_path):
        pass
