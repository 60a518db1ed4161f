"""Memory planner: the offset of each buffer in the arena.

Greedy placement (one buffer after another into the lowest gap that holds it) is tried in several orders. No
plan can be below the largest sum of buffers alive at one step; when greedy placement misses that bound, branch
and bound (`placement_search`) looks for a better plan, or proves that there is none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, chain

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
        name: of its first tensor.
        size: bytes, at first.
        first, last: the steps between which it is alive, both included.
        shrinks: (step, bytes): its size from that step on; ascending steps.
    """

    name: str
    size: int
    first: int
    last: int
    shrinks: tuple[tuple[int, int], ...] = ()

    def pieces(self) -> list[tuple[int, int, int]]:
        """(first step, last step, bytes) of each stretch of one size."""
        starts = [(self.first, self.size), *self.shrinks]
        ends = [step - 1 for step, _ in starts[1:]] + [self.last]
        return [(first, last, size) for (first, size), last in zip(starts, ends, strict=True)]

    def size_at(self, step: int) -> int:
        """Bytes at a step at which it is live; never increases."""
        return [size for start, size in ((self.first, self.size), *self.shrinks) if start <= step][-1]

    def in_units(self, unit: int) -> Buffer:
        """The buffer with sizes rounded up to multiples of `unit` bytes, converted to units of `ALIGNMENT`."""
        if unit == ALIGNMENT:
            return self
        shrinks = tuple((step, aligned(size, unit)) for step, size in self.shrinks)
        return replace(self, size=aligned(self.size, unit), shrinks=shrinks)

    def overlaps(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Overlay:
    """Two live buffers that may share bytes, because one is filled no faster than the other is released.

    Attributes:
        lower, upper: indices of the buffers.
        distance: bytes: if `lower` has the lower offset, `upper` starts at least this far above it. Otherwise they must
            not overlap.
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


def aligned(size: int, unit: int = ALIGNMENT) -> int:
    return -(-size // unit) * unit


def lower_bound(buffers: Sequence[Buffer], overlays: Sequence[Overlay] = ()) -> int:
    """Largest sum of aligned sizes alive at one step, less what may overlap there."""
    return _bound(_problem(buffers, overlays))


def live_by_step(buffers: Sequence[Buffer], overlays: Sequence[Overlay] = ()) -> list[int]:
    """Sum of aligned sizes alive at each step, less what may overlap there; its largest is `lower_bound`."""
    change = [0] * (max((buffer.last for buffer in buffers), default=-1) + 2)
    for buffer in buffers:
        for first, last, size in buffer.pieces():
            change[first] += aligned(size)
            change[last + 1] -= aligned(size)
    live = list(accumulate(change[:-1]))
    for overlay in overlays:
        lower, upper = buffers[overlay.lower], buffers[overlay.upper]
        distance = max(aligned(overlay.distance), ALIGNMENT)
        for step in range(max(lower.first, upper.first), min(lower.last, upper.last) + 1):
            live[step] -= _saving(aligned(lower.size_at(step)), aligned(upper.size_at(step)), distance)
    return live


def _bound(problem: Problem) -> int:
    loads = (sum(clique.values()) - saving for clique, saving in zip(problem.cliques, problem.savings, strict=True))
    return max(loads, default=0)


def plan_memory(buffers: Sequence[Buffer], overlays: Sequence[Overlay] = (), *, nodes: int = _NODES) -> MemoryPlan:
    """Places every buffer; buffers alive at the same step share bytes only where an overlay allows it.

    Args:
        buffers: what to place.
        overlays: exceptions to the rule; each buffer is in one at most.
        nodes: how long to search where greedy placement misses the bound.
    """
    return _planned(tuple(buffers), tuple(overlays), nodes)


@lru_cache(maxsize=256)
def _planned(buffers: tuple[Buffer, ...], overlays: tuple[Overlay, ...], nodes: int) -> MemoryPlan:
    """Ways to compute a network often need the same buffers."""
    problem = _problem(buffers, overlays)
    bound = _bound(problem)
    budget = Budget(nodes * 50 // max(len(buffers), 50))
    best, optimal = _improve(problem, _greedy(problem, buffers, overlays, bound), bound, budget)
    return MemoryPlan(tuple(best), _height(problem, best), bound, optimal)


def _improve(problem: Problem, best: list[int], bound: int, budget: Budget) -> tuple[list[int], bool]:
    """The best plan found, and whether it is known to be the best there is."""
    if _height(problem, best) == bound:
        return best, True
    # The bound is usually reached: spend half of the budget on it first.
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
    distance = {(o.lower, o.upper): max(aligned(o.distance), ALIGNMENT) for o in overlays}
    assert len({i for pair in distance for i in pair}) == 2 * len(overlays), "a buffer in two overlays"
    below: list[dict[int, int]] = [{} for _ in buffers]
    cliques: dict[int, dict[int, int]] = {}
    alive: list[int] = []
    # In order of first steps: the sum of live buffers is largest where one begins.
    for index in sorted(range(len(buffers)), key=lambda i: buffers[i].first):
        step = buffers[index].first
        alive = [i for i in alive if buffers[i].last >= step]
        alive.append(index)
        # Buffers only shrink, so their sizes at the later one's first step are the largest.
        cliques[step] = {i: aligned(buffers[i].size_at(step)) for i in alive}
        for other in alive[:-1]:
            below[index][other] = distance.get((index, other), cliques[step][index])
            below[other][index] = distance.get((other, index), cliques[step][other])
    kept = list(cliques.values())
    savings = [sum(_saving(c[a], c[b], d) for (a, b), d in distance.items() if a in c and b in c) for c in kept]
    return Problem([aligned(buffer.size) for buffer in buffers], below, kept, savings)


def _saving(lower: int, upper: int, distance: int) -> int:
    """Bytes that an overlay's two buffers, of these sizes, share at most."""
    return max(lower + upper - max(distance + upper, lower), 0)


def _greedy(problem: Problem, buffers: Sequence[Buffer], overlays: Sequence[Overlay], bound: int) -> list[int]:
    """The best of several greedy placements; stops at the first that reaches the bound."""
    best: list[int] = []
    rules = _rules(buffers, overlays)
    shuffles = max(_WORK // max(len(buffers), 1), 10) // 4
    for index, start in enumerate(chain(rules, _shuffles(rules[0], shuffles))):
        order = start
        # Long problems profit from many rounds on one order, short ones from many orders.
        for _ in range(30 if index < len(rules) else 4):
            offsets = _place(problem, order)
            if not best or _height(problem, offsets) < _height(problem, best):
                best = offsets
            if _height(problem, best) == bound:
                return best
            order = _promoted(problem, order, offsets, bound)
    return best


def _rules(buffers: Sequence[Buffer], overlays: Sequence[Overlay]) -> list[list[int]]:
    """Orders of placement: by size, area, first step and lifetime, each with and without overlaid buffers first."""
    indices = range(len(buffers))
    orders = [
        sorted(indices, key=lambda i: (-buffers[i].size, buffers[i].first)),
        sorted(indices, key=lambda i: -buffers[i].size * (buffers[i].last - buffers[i].first + 1)),
        sorted(indices, key=lambda i: (buffers[i].first, -buffers[i].size)),
        sorted(indices, key=lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size)),
    ]
    # Placed first, the upper buffer of an overlay would be at the arena's start, with no room below it.
    front = [index for overlay in overlays for index in (overlay.lower, overlay.upper)]
    fronted = [front + [i for i in order if i not in front] for order in orders]
    return orders + fronted if front else orders


def _shuffles(order: Sequence[int], count: int) -> Iterator[list[int]]:
    generator = random.Random(0)
    for _ in range(count if order else 0):
        shuffled = list(order)
        for _ in range(max(1, len(shuffled) // 4)):
            a, b = generator.randrange(len(shuffled)), generator.randrange(len(shuffled))
            shuffled[a], shuffled[b] = shuffled[b], shuffled[a]
        yield shuffled


def _promoted(problem: Problem, order: Sequence[int], offsets: Sequence[int], bound: int) -> list[int]:
    """The order with those buffers moved forward that were placed above the bound ("squeaky wheels").

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
    """Places each buffer in turn at the lowest offset that is free."""
    offsets = [-1] * len(order)
    for index in order:
        taken = [
            (offsets[other] - distance, offsets[other] + problem.below[other][index])
            for other, distance in problem.below[index].items()
            if offsets[other] >= 0
        ]
        offset = 0
        for low, high in sorted(taken):
            if offset <= low:
                break
            offset = max(offset, high)
        offsets[index] = offset
    return offsets


def _height(problem: Problem, offsets: Sequence[int]) -> int:
    return max((offset + size for offset, size in zip(offsets, problem.sizes, strict=True)), default=0)
