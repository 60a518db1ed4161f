"""A bare-bones client of the device protocol over the pipes of a process: QEMU's serial line, or the host program."""

from __future__ import annotations

import os
import select
import subprocess
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tinygen.targets.board import Board

_SECONDS = 20.0


def command_of(board: Board, elf: Path) -> list[str]:
    """What runs `elf`: QEMU with its serial line on stdio, or the program itself."""
    if board.is_host:
        return [str(elf)]
    machine = ["qemu-system-arm", "-machine", board.emulator.qemu_machine, "-kernel", str(elf)]
    return [*machine, "-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none"]


class Wire:
    """A running firmware. Use as a context manager, which ends the process."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._pending = b""
        self.boot: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def send(self, data: bytes) -> None:
        """Writes raw bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def _fill(self, enough: int | bytes) -> None:
        assert self.process.stdout is not None
        end = time.monotonic() + _SECONDS
        while (len(self._pending) < enough) if isinstance(enough, int) else (enough not in self._pending):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"after {self._pending!r}")
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                raise EOFError(f"after {self._pending!r}")
            self._pending += data

    def line(self) -> str:
        """The next line, without its end."""
        self._fill(b"\r\n")
        line, self._pending = self._pending.split(b"\r\n", 1)
        return line.decode("ascii")

    def raw(self, count: int) -> bytes:
        """The next bytes."""
        self._fill(count)
        data, self._pending = self._pending[:count], self._pending[count:]
        return data

    def reply(self) -> list[str]:
        """Lines up to m-ready, without it."""
        lines = []
        while (line := self.line()) != "m-ready":
            lines.append(line)
        return lines

    def ask(self, command: str) -> list[str]:
        """Sends a command that no raw bytes belong to."""
        self.send(command.encode("ascii"))
        return self.reply()

    def load(self, index: int, data: bytes) -> list[str]:
        """Loads an input."""
        self.send(f"tg-load {index} {len(data)} {zlib.crc32(data):08x}%".encode("ascii") + data)
        return self.reply()

    def read(self, index: int) -> bytes:
        """Reads an output, and checks its CRC."""
        self.send(f"tg-read {index}%".encode("ascii"))
        label, count, crc = self.line().split()
        data = self.raw(int(count))
        assert label == "m-tg-data" and zlib.crc32(data) == int(crc, 16)
        assert self.line() == "" and self.reply() == []
        return data
