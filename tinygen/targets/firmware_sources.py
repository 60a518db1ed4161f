"""Inputs of a compiler: a folder of sources, and the paths in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinygen.targets.board import Board


@dataclass(frozen=True)
class FirmwareProject:
    """A folder ready to be built.

    Attributes:
        directory: the folder; the paths below are relative to it, with forward slashes.
        sources: C files, in link order.
        include_dirs: for `-I`.
        system_include_dirs: for `-isystem` (our string.h, where there is no C library).
        linker_script: None on the host.
        stack_bytes: what the linker script reserves; 0 on the host.
    """

    directory: Path
    board: Board
    sources: tuple[str, ...]
    include_dirs: tuple[str, ...]
    system_include_dirs: tuple[str, ...]
    linker_script: str | None
    stack_bytes: int
