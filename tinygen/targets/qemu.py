"""QEMU's own boards: independently written CPU and UART models, as a cross-check."""

from __future__ import annotations

import shutil
from pathlib import Path

from tinygen.errors import BoardError, ToolchainError
from tinygen.targets.board import Board

PROGRAM = "qemu-system-arm"


def qemu_command(board: Board, elf: Path) -> list[str]:
    """The command that runs a firmware with its UART on standard input and output.

    Give it to `tinygen.hil.transports.ProcessTransport`, which also ends QEMU when tinygen ends: otherwise it would run
    forever.

    Raises:
        BoardError: QEMU has no such board.
        ToolchainError: QEMU is not installed.
    """
    machine = board.emulator.qemu_machine
    if not machine:
        raise BoardError(
            f"QEMU has no board like {board.name}",
            where=f"{board.path}: emulator.qemu_machine",
            fix="Name QEMU's machine there, or use `engine: unicorn`.",
        )
    program = shutil.which(PROGRAM)
    if program is None:
        raise ToolchainError(
            f"{PROGRAM} is not installed, and {board.name} runs on it", fix="apt install qemu-system-arm"
        )
    return [
        program,
        "-machine",
        machine,
        "-kernel",
        str(elf.resolve()),
        "-nodefaults",
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "stdio",
    ]
