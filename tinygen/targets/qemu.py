"""QEMU's own boards: somebody else's CPU and UART models, as a second opinion."""

from __future__ import annotations

import shutil
from pathlib import Path

from tinygen.errors import ToolchainError
from tinygen.targets.board import Board

PROGRAM = "qemu-system-arm"


def qemu_command(board: Board, elf: Path) -> list[str]:
    """The command that runs a firmware with its UART on standard input and output.

    Raises:
        ToolchainError: QEMU is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ToolchainError(
            f"{PROGRAM} is not installed, and {board.name} runs on it", fix="apt install qemu-system-arm"
        )
    machine = board.emulator.qemu_machine
    return [program, "-M", machine, "-kernel", str(elf), "-nographic", "-monitor", "none", "-serial", "stdio"]
