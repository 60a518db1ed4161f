"""Getting a firmware onto a board: one file for each tool, and the choice between them.

To add a tool: a file with a :class:`Flasher`, a line in `FLASHERS`, its name and key in `board_file.py`.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tinygen.errors import FlashError
from tinygen.targets.board import Board
from tinygen.targets.flashing.base import Flasher, Job, Step
from tinygen.targets.flashing.dfu import DfuUtil
from tinygen.targets.flashing.esptool import EspTool
from tinygen.targets.flashing.mass_storage import MassStorage
from tinygen.targets.flashing.openocd import OpenOcd
from tinygen.targets.flashing.platformio import PlatformIoUpload
from tinygen.targets.flashing.pyocd import PyOcd
from tinygen.targets.flashing.st_flash import StFlash

__all__ = ["FLASHERS", "Flasher", "Job", "Step", "choose", "flashers_of", "make_command"]

FLASHERS: tuple[Flasher, ...] = (
    OpenOcd(),
    PyOcd(),
    StFlash(),
    DfuUtil(),
    EspTool(),
    MassStorage(),
    PlatformIoUpload(),
)
_BY_NAME = {flasher.name: flasher for flasher in FLASHERS}


def flashers_of(board: Board) -> tuple[Flasher, ...]:
    """Ways to flash a board: its file's, in its order of preference, then PlatformIO's."""
    named = tuple(_BY_NAME[name] for name in board.flashing.methods)
    return named + tuple(f for f in FLASHERS if f.can(board) and f not in named)


def make_command(board: Board) -> str:
    """Shell command that flashes ./firmware.elf by the first method of the board that takes an ELF; "" without one.

    For a generated Makefile, which builds nothing but the ELF.
    """
    job = Job(board, Path(), {"bin": ""})
    for flasher in flashers_of(board):
        if flasher.takes_elf:
            return shlex.join(flasher.steps(job, (flasher.program,))[0].command)
    return ""


def choose(job: Job, method: str | None, *, dry_run: bool = False) -> Flasher:
    """The way to flash a board: `method`, or the first that its file prefers and this computer has.

    Args:
        dry_run: nothing will run, so it need not be installed.

    Raises:
        FlashError: the board cannot be flashed so, or by nothing that is installed.
    """
    board, possible = job.board, flashers_of(job.board)
    if not possible:
        raise FlashError(f"nothing can flash {board.title}", where=str(board.path), fix="It is emulated only.")
    if method is not None:
        found = next((flasher for flasher in possible if flasher.name == method), None)
        if found is None:
            raise FlashError(
                f"{board.title} cannot be flashed by '{method}'",
                where=f"{board.path}: flashing.methods",
                fix=f"Methods: {', '.join(f.name for f in possible)}.",
            )
        return found
    available = next((flasher for flasher in possible if flasher.available(job)), None)
    if available is None and not dry_run:
        ways = "\n".join(f"  {flasher.name}: {flasher.get}" for flasher in possible)
        raise FlashError("none of the tools that can flash it is here", where=board.title, fix=f"Get one:\n{ways}")
    return available or possible[0]
