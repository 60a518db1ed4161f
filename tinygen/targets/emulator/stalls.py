"""Memory stalls of executed blocks: caches before slow memories, looked up at every pass of a block.

No memory hook is needed (see `Counter.install` for why there is none): the addresses a block reads follow from the
registers at its start, which the block hook can read. hooks.c does the same in C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

NO_REGISTER = 255


class Access(NamedTuple):
    """Bytes read: `size` from r[base] + (r[scaled] << shift) + offset; `NO_REGISTER` counts as 0."""

    base: int
    scaled: int
    shift: int
    offset: int
    size: int


@dataclass(frozen=True)
class Cache:
    """A cache, or the buffers of a flash interface that act as one.

    Attributes:
        line: bytes of a line, a power of two.
        ways, sets: their product is the number of lines, at most `board.MAX_LINES`. Lines are replaced in turn.
        regions: (start, end, cycles that a miss costs) of each memory behind it, at most `board.MAX_REGIONS`.
    """

    line: int
    ways: int
    sets: int
    regions: tuple[tuple[int, int, int], ...]


@runtime_checkable
class TimedCost(Protocol):
    """A `Cost` that knows the memories, too.

    Attributes:
        caches: for code and for data, the same object when they share one; None where memory never waits.
        accesses: what the block reads that was asked for last.
    """

    caches: tuple[Cache, Cache] | None
    accesses: Sequence[Access]

    def __call__(self, address: int, size: int, instructions: int) -> int:
        """See `Cost`."""

    def attach(self, register: Callable[[int], int]) -> None:
        """Gives it the registers: `register(n)` is its nth at the start of the block that is asked for."""


@dataclass
class CacheState:
    """The lines that a cache holds."""

    cache: Cache
    _lines: list[int] = field(init=False)
    _victims: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = [-1] * (self.cache.ways * self.cache.sets)
        self._victims = [0] * self.cache.sets

    def read(self, address: int, size: int) -> int:
        """Cycles that reading costs beyond a hit."""
        cache = self.cache
        miss = next((cycles for start, end, cycles in cache.regions if start <= address < end), None)
        if miss is None:
            return 0
        lines = range(address // cache.line, (address + max(size, 1) - 1) // cache.line + 1)
        return sum(miss for line in lines if self._load(line))

    def _load(self, line: int) -> bool:
        """Loads a cache line; True on a miss."""
        index = line % self.cache.sets
        first = index * self.cache.ways
        if line in self._lines[first : first + self.cache.ways]:
            return False
        self._lines[first + self._victims[index]] = line
        self._victims[index] = (self._victims[index] + 1) % self.cache.ways
        return True
