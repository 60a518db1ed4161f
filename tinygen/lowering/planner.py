"""Where each buffer lives in the arena.

Greedy placement (one buffer after another into the lowest gap that holds it) is tried in several orders. No
plan can be below the largest sum of buffers alive at one step; when greedy placement misses that bound, branch
and bound (`placement_search`) looks for a better plan, or proves that there is none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygen.lowering.placement_search import Budget, Outcome, Problem, search

ALIGNMENT = 8
_WORK = 40_000
"""Buffers that greedy placement places, over all orders it tries."""
_NODES = 20_000
"""Nodes of branch and bound, for up to 50 buffers: a few seconds, and only where greedy placement misses the bound."""


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
class Overlay:
    """Two buffers alive at one time that may share bytes, because one fills no faster than the other empties.

    Attributes:
        lower, upper: indices of the buffers.
        distance: bytes; when `lower` starts first, `upper` starts at least so far above it. The other way
            round they stay apart.
    """

    lower: int
    upper: int
    distance: int


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets of buffers, in the order they were given.

    Attributes:
        offsets: bytes from the arena's start.
        arena_bytes: the arena's size.
        lower_bound_bytes: largest sum of buffers alive at one step.
        optimal: no plan of these buffers is smaller; proved by the bound or by an exhausted search.
    """

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int
    optimal: bool

    @property
    def gap_bytes(self) -> int:
        """By how much the plan misses the lower bound."""
        return self.arena_bytes - self.lower_bound_bytes


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(buffers: Sequence[Buffer], overlays: Sequence[Overlay] = ()) -> int:
    """Largest sum of aligned sizes alive at one step, less what may overlap there."""
    return _bound(_problem(buffers, overlays))


def _bound(problem: Problem) -> int:
    loads = (
        sum(problem.sizes[b] for b in clique) - saving
        for clique, saving in zip(problem.cliques, problem.savings, strict=True)
    )
    return max(loads, default=0)


def plan_memory(
    buffers: Sequence[Buffer], overlays: Sequence[Overlay] = (), *, nodes: int = _NODES
) -> MemoryPlan:
    """Places every buffer; buffers alive at the same step share bytes only where an overlay allows it.

    Args:
        buffers: what to place.
        overlays: exceptions to the rule; each buffer is in one at most.
        nodes: how long to search where greedy placement misses the bound.
    """
    problem = _problem(buffers, overlays)
    bound = _bound(problem)
    budget = Budget(nodes * 50 // max(len(buffers), 50))
    best, optimal = _improve(problem, _greedy(problem, buffers, bound), bound, budget)
    return MemoryPlan(tuple(best), _height(problem, best), bound, optimal)


def _improve(problem: Problem, best: list[int], bound: int, budget: Budget) -> tuple[list[int], bool]:
    """The best plan found, and whether it is known to be the best there is."""
    if _height(problem, best) == bound:
        return best, True
    # The bound is reached more often than not: half of the budget goes there at once.
    half = Budget(budget.nodes // 2)
    outcome, found = search(problem, bound, half)
    budget.nodes -= budget.nodes // 2 - half.nodes
    if outcome is Outcome.FOUND:
        return found, True
    floor = bound + ALIGNMENT if outcome is Outcome.IMPOSSIBLE else bound
    while _height(problem, best) > floor:
        outcome, found = search(problem, _height(problem, best) - ALIGNMENT, budget)
        if outcome is Outcome.FOUND:
            best = found
        else:
            return best, outcome is Outcome.IMPOSSIBLE
    return best, True


def _problem(buffers: Sequence[Buffer], overlays: Sequence[Overlay]) -> Problem:
    sizes = [aligned(buffer.size) for buffer in buffers]
    distance = {(o.lower, o.upper): max(aligned(o.distance), ALIGNMENT) for o in overlays}
    assert len({i for pair in distance for i in pair}) == 2 * len(overlays), "a buffer in two overlays"
    below: list[dict[int, int]] = [{} for _ in buffers]
    cliques: dict[int, list[int]] = {}
    alive: list[int] = []
    # In order of first steps: a sum of live buffers can only be the largest where one begins.
    for index in sorted(range(len(buffers)), key=lambda i: buffers[i].first):
        step = buffers[index].first
        alive = [i for i in alive if buffers[i].last >= step]
        for other in alive:
            below[index][other] = distance.get((index, other), sizes[index])
            below[other][index] = distance.get((other, index), sizes[other])
        alive.append(index)
        cliques[step] = list(alive)
    kept = list(cliques.values())
    savings = [sum(_saving(sizes, pair, distance[pair]) for pair in distance if set(pair) <= set(c)) for c in kept]
    return Problem(sizes, below, kept, savings)


def _saving(sizes: Sequence[int], pair: tuple[int, int], distance: int) -> int:
    """Bytes that an overlay's two buffers share at most."""
    lower, upper = sizes[pair[0]], sizes[pair[1]]
    return max(lower + upper - max(distance + upper, lower), 0)


def _greedy(problem: Problem, buffers: Sequence[Buffer], bound: int) -> list[int]:
    """The best of several greedy placements; stops at the first that reaches the bound."""
    best: list[int] = []
    rounds = max(_WORK // max(len(buffers), 1), 10)
    for index, start in enumerate(_orders(buffers, rounds // 4)):
        order = start
        # Long problems profit from many rounds on one order, short ones from many orders.
        for _ in range(30 if index < 3 else 4):
            offsets = _place(problem, order)
            if not best or _height(problem, offsets) < _height(problem, best):
                best = offsets
            if _height(problem, best) == bound:
                return best
            order = _promoted(problem, order, offsets, bound)
    return best


def _orders(buffers: Sequence[Buffer], shuffles: int) -> Iterator[list[int]]:
    """Orders of placement to try: three rules, then seeded shuffles of the first."""
    indices = range(len(buffers))
    by_size = sorted(indices, key=lambda i: (-buffers[i].size, buffers[i].first))
    yield by_size
    yield sorted(indices, key=lambda i: -buffers[i].size * (buffers[i].last - buffers[i].first + 1))
    yield sorted(indices, key=lambda i: (buffers[i].first, -buffers[i].size))
    generator = random.Random(0)
    for _ in range(shuffles if buffers else 0):
        shuffled = list(by_size)
        for _ in range(max(1, len(shuffled) // 4)):
            a, b = generator.randrange(len(shuffled)), generator.randrange(len(shuffled))
            shuffled[a], shuffled[b] = shuffled[b], shuffled[a]
        yield shuffled


def _promoted(problem: Problem, order: Sequence[int], offsets: Sequence[int], bound: int) -> list[int]:
    """The order with those buffers earlier that came to lie above the bound ("squeaky wheels").

    Joslin and Clements, "Squeaky Wheel Optimization", JAIR 10, 1999. Each moves up past half of the
    neighbours that were placed before it.
    """
    place = {index: position for position, index in enumerate(order)}
    rank = {index: float(position) for index, position in place.items()}
    for index in order:
        if offsets[index] + problem.sizes[index] > bound:
            earlier = [place[i] for i in problem.below[index] if place[i] < place[index]] or [place[index]]
            rank[index] = sorted(earlier)[len(earlier) // 2] - 0.5
    return sorted(order, key=lambda i: (rank[i], place[i]))


def _place(problem: Problem, order: Sequence[int]) -> list[int]:
    """Each buffer in turn at the lowest offset that those placed before leave."""
    offsets = [-1] * len(order)
    for index in order:
        taken = sorted(
            (offsets[other] - distance, offsets[other] + problem.below[other][index])
            for other, distance in problem.below[index].items()
            if offsets[other] >= 0
        )
        offset = 0
        for low, high in taken:
            if offset <= low:
                break
            offset = max(offset, high)
        offsets[index] = offset
    return offsets


def _height(problem: Problem, offsets: Sequence[int]) -> int:
    return max((offset + size for offset, size in zip(offsets, problem.sizes, strict=True)), default=0)
