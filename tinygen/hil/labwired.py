"""A firmware on labwired, an emulator that this project did not write: `--port labwired`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tinygen.errors import BoardError
from tinygen.targets.board import Board
from tinygen.targets.labwired import boot_rom, labwired_system, labwired_uart

_SLICE = "100us"


class LabwiredTransport:
    """A line to a board in labwired; emulated time passes only during reads.

    Args:
        board: one that labwired models.
        elf: its firmware.

    Raises:
        BoardError, ToolchainError: see `require_labwired`; or labwired does not take the firmware.
    """

    clock = staticmethod(time.process_time)
    """CPU seconds of this process: timeouts do not depend on the computer's other load."""

    def __init__(self, board: Board, elf: Path) -> None:
        self._board = board
        self._folder = tempfile.TemporaryDirectory(prefix="tinygen-labwired-")
        self._received = bytearray()
        folder = Path(self._folder.name)
        system = labwired_system(board, folder)
        import labwired  # an extra, and only here

        try:
            with boot_rom(board, folder):
                self._sim: Any = labwired.Sim(elf.resolve(), system=system, uart=labwired_uart(board))
        except (ValueError, RuntimeError, labwired.NotSupported) as error:
            self._folder.cleanup()
            raise self._stopped(error) from error

    def write(self, data: bytes) -> None:
        self._sim.send_bytes(data)

    def set_baud(self, baud: int) -> None:
        """No effect: labwired transfers bytes correctly at any rate."""

    def read(self, size: int, timeout: float) -> bytes:
        """Runs the board until `size` bytes have come, or `timeout` seconds of this process have passed.

        Raises:
            BoardError: labwired does not model something that the firmware did.
        """
        deadline = self.clock() + timeout
        while len(self._received) < size:
            try:
                self._sim.run_for(_SLICE)
            except RuntimeError as error:
                raise self._stopped(error) from error
            self._received += self._sim.read_uart_bytes()
            if self.clock() >= deadline:
                break
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def close(self) -> None:
        self._sim.close()
        self._folder.cleanup()

    def _stopped(self, error: object) -> BoardError:
        return BoardError(
            f"labwired stopped: {error}",
            where=f"{self._board.name}-labwired",
            fix="Its models have gaps: docs/testing.md names those that are known.",
        )
