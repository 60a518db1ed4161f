"""Named choices for a firmware."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from tinygen.errors import TinygenError

E = TypeVar("E", bound=StrEnum)


class Mode(StrEnum):
    """The mode in which a firmware starts: 115200 baud and timestamps as text, or 9600 baud and a timestamp pin."""

    PERFORMANCE = "performance"
    ENERGY = "energy"


class WeightMemory(StrEnum):
    """The memory for weights; to RAM they are copied at start-up. The default is flash, except for flash on a serial
    bus.
    """

    AUTO = "auto"
    FLASH = "flash"
    RAM = "ram"


def chosen(kind: type[E], name: str, what: str) -> E:
    """The member of that name.

    Args:
        what: how the error begins: "there is no kernel family".

    Raises:
        TinygenError: there is none.
    """
    try:
        return kind(name)
    except ValueError:
        raise TinygenError(f"{what} '{name}'", fix=f"One of: {', '.join(kind)}.") from None
