"""The parts by name."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from tinygen.errors import BoardError
from tinygen.targets.board import Board
from tinygen.targets.parts import others, stm32f, stm32h7, stm32l4
from tinygen.targets.parts.part import Part

ALL: tuple[Part, ...] = (*stm32f.PARTS, *stm32l4.PARTS, *stm32h7.PARTS, *others.PARTS)
# The line, the package, the size of flash, and what follows: STM32F746 Z G T6.
_ORDER_CODE = re.compile(r"(STM32\w{4})[A-Z](\w)[\w-]*")


@cache
def find_part(name: str) -> Part | None:
    """The part of that name, with its own size of flash; None for one that is not known.

    Args:
        name: an order code, at least up to the size of flash (STM32F746ZG, STM32F746ZGT6), or ESP32-C3.
    """
    match = _ORDER_CODE.fullmatch(name)
    line, size = match.groups() if match else (name, "")
    for part in ALL:
        if part.name == line and size in part.flash_bytes:
            return replace(part, name=name, flash_bytes={size: part.flash_bytes[size]})
    return None


def known_parts() -> str:
    """What a board file may name, in words."""
    codes = ", ".join(part.code for part in ALL)
    return f"Known parts, with x for the letter of the package (STM32F746xG: STM32F746ZG): {codes}."


def part_of(board: Board) -> Part:
    """The board's part.

    Raises:
        BoardError: it is not known.
    """
    part = find_part(board.part)
    if part is None:
        raise BoardError(
            f"{board.part!r} is not a part whose limits tinygen knows", where=f"{board.path}: part", fix=known_parts()
        )
    return part
