"""Branch and bound over offsets of buffers whose lifetimes are known (dynamic storage allocation).

Buffers are placed one after another at non-decreasing offsets, each as low as the buffers placed below it allow. Every
plan in which no buffer can be moved down is found in exactly one way, so the search is complete. Three rules prune it
(compare Moffitt, "MiniMalloc", ASPLOS 2023):

- all that is still to be placed at one step must fit between the lowest free place and the capacity;
- a buffer is not placed above a gap that another one could fill (moving that one down is never worse);
- among buffers at one offset the order does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """How a search ended."""

    FOUND = "found"
    IMPOSSIBLE = "impossible"
    GAVE_UP = "gave up"


@dataclass
class Problem:
    """Buffers as the search sees them.

    Attributes:
        sizes: bytes per buffer, at most.
        below: per buffer, those alive at a common step, each with the least difference of offsets when
            the first lies below it (usually the first's size).
        cliques: for each step that matters, the buffers alive there and their bytes at that step.
        savings: bytes that the buffers of each clique may overlap at most; the sum of sizes minus this
            is a bound.
    """

    sizes: Sequence[int]
    below: Sequence[Mapping[int, int]]
    cliques: Sequence[Mapping[int, int]]
    savings: Sequence[int]


@dataclass
class Budget:
    """Nodes that searches may still visit."""

    nodes: int


@dataclass
class _State:
    """A partial plan: offsets of what is placed, lowest offsets of what is not."""

    lowest: list[int]
    waiting: set[int]
    load: list[int]
    last: tuple[int, int] = (0, -1)
    offsets: dict[int, int] = field(default_factory=dict)


def search(problem: Problem, capacity: int, budget: Budget) -> tuple[Outcome, list[int]]:
    """A plan within `capacity` bytes.

    Returns:
        FOUND and the offsets; IMPOSSIBLE when there is none; GAVE_UP when the budget was spent first.
    """
    membership: list[list[int]] = [[] for _ in problem.sizes]
    for index, clique in enumerate(problem.cliques):
        for buffer in clique:
            membership[buffer].append(index)
    load = [sum(clique.values()) - saving for clique, saving in zip(problem.cliques, problem.savings, strict=True)]
    count = len(problem.sizes)
    state = _State([0] * count, set(range(count)), load)
    # Depth first with a stack of its own: graphs of a thousand buffers exceed Python's recursion limit.
    stack = [_candidates(problem, state, capacity)]
    undo: list[tuple[int, tuple[int, int], list[tuple[int, int]]]] = []
    while stack:
        if not state.waiting:
            return Outcome.FOUND, [state.offsets[i] for i in range(count)]
        if not stack[-1]:
            stack.pop()
            if undo:
                _take_back(problem, state, membership, undo.pop())
            continue
        if budget.nodes <= 0:
            return Outcome.GAVE_UP, []
        budget.nodes -= 1
        undo.append(_put(problem, state, membership, stack[-1].pop()))
        stack.append(_candidates(problem, state, capacity))
    return (Outcome.IMPOSSIBLE, []) if count else (Outcome.FOUND, [])


def _candidates(problem: Problem, state: _State, capacity: int) -> list[int]:
    """What may be placed next, the most promising last; nothing when no completion can fit."""
    if any(_too_high(state, clique, capacity - load) for clique, load in zip(problem.cliques, state.load, strict=True)):
        return []
    # The two lowest ends, so that a buffer is not compared with itself.
    tops = sorted((state.lowest[b] + problem.sizes[b], b) for b in state.waiting)[:2]
    found = []
    for buffer in state.waiting:
        start = state.lowest[buffer]
        limit = next((top for top, other in tops if other != buffer), capacity + 1)
        if (start, buffer) > state.last and start < limit and start + problem.sizes[buffer] <= capacity:
            found.append(buffer)
    return sorted(found, key=lambda b: (-state.lowest[b], problem.sizes[b] * len(problem.below[b]), -b))


def _too_high(state: _State, clique: Mapping[int, int], slack: int) -> bool:
    """Whether all buffers that a step still needs must begin above `slack`; usually the first may begin below."""
    some = False
    for buffer in clique:
        if buffer in state.waiting:
            if state.lowest[buffer] <= slack and state.last[0] <= slack:
                return False
            some = True
    return some


def _put(
    problem: Problem, state: _State, membership: Sequence[Sequence[int]], buffer: int
) -> tuple[int, tuple[int, int], list[tuple[int, int]]]:
    """Places `buffer` at its lowest offset; returns what is needed to undo that."""
    offset = state.lowest[buffer]
    last = state.last
    raised: list[tuple[int, int]] = []
    state.waiting.remove(buffer)
    state.offsets[buffer] = offset
    state.last = (offset, buffer)
    for clique in membership[buffer]:
        state.load[clique] -= problem.cliques[clique][buffer]
    for other, distance in problem.below[buffer].items():
        if other in state.waiting and offset + distance > state.lowest[other]:
            raised.append((other, state.lowest[other]))
            state.lowest[other] = offset + distance
    return buffer, last, raised


def _take_back(
    problem: Problem,
    state: _State,
    membership: Sequence[Sequence[int]],
    step: tuple[int, tuple[int, int], list[tuple[int, int]]],
) -> None:
    buffer, last, raised = step
    for other, lowest in raised:
        state.lowest[other] = lowest
    for clique in membership[buffer]:
        state.load[clique] += problem.cliques[clique][buffer]
    state.waiting.add(buffer)
    del state.offsets[buffer]
    state.last = last
