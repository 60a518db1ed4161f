"""A board's memory timing as caches that the emulator simulates while blocks run."""

from __future__ import annotations

from tinygen.targets.board import CacheTiming, MemoryTiming
from tinygen.targets.emulator.stalls import Cache


def caches_of(timing: MemoryTiming) -> tuple[Cache, Cache]:
    """The caches for code and for data; one and the same where both share it."""
    code = _cache(timing.code)
    return code, code if timing.data is timing.code else _cache(timing.data)


def _cache(timing: CacheTiming) -> Cache:
    return Cache(timing.line, timing.ways, timing.size // (timing.line * timing.ways), timing.regions)
