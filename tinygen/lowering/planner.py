"""Where each buffer lives in the arena: lifetimes, in-place reuse, offsets.

Offsets come from greedy-by-size placement (largest buffer first, lowest gap that fits), tried in
several orders; the result is reported against the largest sum of buffers alive at one time, below
which no plan can go.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 8
_ATTEMPTS = 200


@dataclass(frozen=True)
class Buffer:
    """A piece of arena.

    Attributes:
        name: what lives there first.
        size: bytes.
        first, last: the steps between which it is alive, both included.
    """

    name: str
    size: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets of buffers, in the order they were given.

    Attributes:
        offsets: bytes from the arena's start.
        arena_bytes: the arena's size.
        lower_bound_bytes: largest sum of buffers alive at one step.
    """

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Largest sum of aligned sizes alive at one step."""
    steps = {buffer.first for buffer in buffers}
    return max(
        (sum(aligned(b.size) for b in buffers if b.first <= step <= b.last) for step in steps), default=0
    )


def plan_memory(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Places every buffer; buffers alive at the same step never share a byte."""
    bound = lower_bound(buffers)
    orders = _orders(buffers)
    best: list[int] = []
    best_size = -1
    for order in orders:
        offsets, size = _place(buffers, order)
        if best_size < 0 or size < best_size:
            best, best_size = offsets, size
        if best_size == bound:
            break
    return MemoryPlan(tuple(best), max(best_size, 0), bound)


def _orders(buffers: Sequence[Buffer]) -> list[list[int]]:
    """Orders of placement to try: three rules, then seeded shuffles of the best-known one."""
    indices = range(len(buffers))
    by_size = sorted(indices, key=lambda i: (-buffers[i].size, buffers[i].first))
    by_area = sorted(indices, key=lambda i: -buffers[i].size * (buffers[i].last - buffers[i].first + 1))
    by_time = sorted(indices, key=lambda i: (buffers[i].first, -buffers[i].size))
    generator = random.Random(0)
    orders = [by_size, by_area, by_time]
    attempts = _ATTEMPTS if len(buffers) <= 200 else 10
    for _ in range(attempts):
        shuffled = list(by_size)
        for _ in range(max(1, len(shuffled) // 4)):
            a, b = generator.randrange(len(shuffled) or 1), generator.randrange(len(shuffled) or 1)
            if shuffled:
                shuffled[a], shuffled[b] = shuffled[b], shuffled[a]
        orders.append(shuffled)
    return orders


def _place(buffers: Sequence[Buffer], order: Sequence[int]) -> tuple[list[int], int]:
    offsets = [0] * len(buffers)
    placed: list[int] = []
    total = 0
    for index in order:
        buffer = buffers[index]
        neighbours = sorted(
            (offsets[i], offsets[i] + aligned(buffers[i].size)) for i in placed if buffers[i].overlaps(buffer)
        )
        offset = 0
        for start, end in neighbours:
            if start - offset >= aligned(buffer.size):
                break
            offset = max(offset, end)
        offsets[index] = offset
        total = max(total, offset + aligned(buffer.size))
        placed.append(index)
    return offsets, total
