"""`tinygen boards`: the supported boards."""

from __future__ import annotations

from typing import Any

from tinygen.targets import boards
from tinygen.targets.board import Board
from tinygen.targets.first_light import spread_on


def list_boards() -> list[dict[str, Any]]:
    """Facts about every board that comes with tinygen; `measured`: error of the predictions on a real board.

    Raises:
        BoardError: a stored measurement was not made on a real board.
    """
    return [_describe(boards.load_board(name)) for name in sorted(boards.list_boards())]


def _describe(board: Board) -> dict[str, Any]:
    spread = spread_on(board.name)
    return {
        "name": board.name,
        "title": board.title,
        "part": board.part or None,
        "core": board.core,
        "isa": list(board.isa),
        "clock_hz": board.clock.hclk_hz if board.clock else None,
        "flash_bytes": board.flash_bytes,
        "ram_bytes": board.ram_bytes,
        "emulator": board.emulator.engine,
        "measured": str(spread) if spread else None,
        "file": str(board.path),
    }
