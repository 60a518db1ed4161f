"""What a firmware can be told to do, by name."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from tinygen.errors import TinygenError

E = TypeVar("E", bound=StrEnum)


class Mode(StrEnum):
    """How a firmware begins: 115200 baud and timestamps as text; or 9600 baud and a timestamp pin."""

    PERFORMANCE = "performance"
    ENERGY = "energy"


class WeightMemory(StrEnum):
    """Where weights lie; in RAM they are copied at start-up. By default in flash, but for one on a serial bus."""

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
