"""`tinygen boards`: what can be built for."""

from __future__ import annotations

from typing import Any

from tinygen.targets import boards
from tinygen.targets.board import Board


def list_boards() -> list[dict[str, Any]]:
    """Facts about every board that comes with tinygen."""
    return [_describe(boards.load_board(name)) for name in sorted(boards.list_boards())]


def _describe(board: Board) -> dict[str, Any]:
    return {
        "name": board.name,
        "title": board.title,
        "core": board.core,
        "isa": list(board.isa),
        "clock_hz": board.clock.hclk_hz if board.clock else None,
        "flash_bytes": board.flash_bytes,
        "ram_bytes": board.ram_bytes,
        "emulator": board.emulator.engine,
        "file": str(board.path),
    }
