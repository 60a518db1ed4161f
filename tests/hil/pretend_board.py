"""A board that is flashed and spoken to as a real one is: a pseudo-terminal with whatever firmware a link points at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygen.errors import BoardError
from tinygen.targets.board import Board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.pty import open_pty


class _Socket:
    """The emulated board of the moment: a new one whenever the link changes."""

    def __init__(self, board: Board, link: Path) -> None:
        assert board.uart is not None
        self._board, self._link, self._baud = board, link, board.uart.baud
        self._elf = ""
        self._emulated: EmulatedBoard | None = None

    def _now(self) -> EmulatedBoard | None:
        elf = os.readlink(self._link) if self._link.is_symlink() else self._elf
        if elf != self._elf:
            path = Path(elf)
            self._emulated = EmulatedBoard(self._board, path, Watch(cost=board_cost(self._board, path)))
            self._emulated.set_baud(self._baud)
            self._elf = elf
        return self._emulated

    def write(self, data: bytes) -> None:
        emulated = self._now()
        if emulated is not None:
            emulated.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        """Of firmware that breaks, what its own handler would say: the emulator stops before that runs. Then nothing,
        until it is flashed again.
        """
        emulated = self._now()
        if emulated is None:
            return b""
        try:
            return emulated.read(size, timeout)
        except BoardError:
            self._emulated = None
            return b"\r\ne-[fault: usage pc=08001234 address=unknown cfsr=00010000]\r\n"

    def set_baud(self, baud: int) -> None:
        self._baud = baud
        if self._emulated is not None:
            self._emulated.set_baud(baud)


@contextmanager
def pretend_board(board: Board, folder: Path) -> Iterator[tuple[str, str]]:
    """Its port, and the command that flashes it, with {dir} for a firmware's folder."""
    link = folder / "flashed"
    assert board.uart is not None
    with open_pty(_Socket(board, link), board.uart.baud) as port:
        yield port, f"ln -sfn {{dir}}/firmware.elf {link}"
