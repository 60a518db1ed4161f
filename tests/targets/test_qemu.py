"""QEMU's boards: they answer, and leave no process behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.targets.build import build
from tests.targets.tools import requires_tool
from tinygen.errors import BoardError, DeviceError, ToolchainError
from tinygen.hil.client import DeviceClient
from tinygen.hil.transports import ProcessTransport
from tinygen.targets.boards import load_board
from tinygen.targets.qemu import qemu_command

QEMU = requires_tool("qemu-system-arm")


def processes_with(text: str) -> list[str]:
    """Command lines of running processes that name `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if text in line and int(path.parent.name) != os.getpid():
            found.append(line)
    return found


def gone(text: str) -> bool:
    """Whether no process names `text`, within a few seconds."""
    for _ in range(100):
        if not processes_with(text):
            return True
        time.sleep(0.05)
    return False


def test_missing_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError) as caught:
        qemu_command(load_board("netduinoplus2"), tmp_path / "firmware.elf")
    assert "netduinoplus2 runs on it" in caught.value.what
    assert caught.value.fix == "apt install qemu-system-arm"


def test_board_without_machine(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="QEMU has no board like f746zg"):
        qemu_command(load_board("f746zg"), tmp_path / "firmware.elf")


@QEMU
@pytest.mark.parametrize("name", ["netduinoplus2", "mps2-an500"])
def test_inference(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    elf = build(board, "zig", tmp_path).elf
    client = DeviceClient(ProcessTransport(qemu_command(board, elf)))
    try:
        client.wait_for_boot()
        assert client.info().clock_hz == board.core_hz
        client.load(0, bytes(range(16)))
        client.run()
        assert client.read(0) == bytes(2 * x + 1 for x in range(16))
        assert processes_with(str(elf))
    finally:
        client.close()
    assert gone(str(elf))


@QEMU
def test_wrong_machine(tmp_path: Path) -> None:
    board = load_board("mps2-an500")
    elf = build(board, "zig", tmp_path).elf
    odd = dataclasses.replace(board, emulator=dataclasses.replace(board.emulator, qemu_machine="no-such-machine"))
    client = DeviceClient(ProcessTransport(qemu_command(odd, elf)))
    with pytest.raises(DeviceError, match=r"ended with status 1: .*unsupported machine type"):
        client.wait_for_boot()
    client.close()


KILLED = """
import sys, time
from pathlib import Path
from tinygen.hil.transports import ProcessTransport
from tinygen.targets.boards import load_board
from tinygen.targets.qemu import qemu_command
line = ProcessTransport(qemu_command(load_board("mps2-an500"), Path(sys.argv[1])))
assert line.read(1, 10.0)
print("up", flush=True)
time.sleep(60)
"""


@QEMU
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_qemu_ends_when_we_are_killed(how: signal.Signals, tmp_path: Path) -> None:
    elf = build(load_board("mps2-an500"), "zig", tmp_path).elf
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", KILLED, str(elf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert processes_with(str(elf))
        process.send_signal(how)
        process.wait()
    assert gone(str(elf))
