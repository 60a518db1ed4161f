"""Chooses kernels by what their scratch costs the network: smaller arenas are tried where scratch decides the arena."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

from tinygen.ir.ops.base import Node
from tinygen.lowering.lifetimes import live_bytes
from tinygen.lowering.planner import aligned
from tinygen.lowering.program import Program
from tinygen.lowering.scratch import CALL_CYCLES, price


class Prefer(StrEnum):
    """What matters more: a small arena, or few cycles."""

    RAM = "ram"
    BALANCE = "balance"
    SPEED = "speed"


_WORTH = {Prefer.RAM: 2.0, Prefer.BALANCE: 0.5, Prefer.SPEED: 0.05}
"""By how many per cent cycles may rise for an arena that is one per cent smaller."""
_FREE = 1024
"""Bytes that count beside the arena's: a tiny network does not become slow to save a few hundred."""
_DECIDES = 1.02
"""From here on scratch decides the arena."""

_CLOSE = 1.05
"""Programs so little slower than the fastest kernels are taken without a search, where scratch does not decide."""


_APART = 1.02
"""Arenas that are closer to each other count as one."""


class Lowered(Protocol):
    """Gives the program for (bytes of scratch by layer, largest arena); that may be larger where nothing else is found.

    Activations are packed where that makes the arena smaller, or not at all. Without arguments, the fastest kernels
    and a little more than the least arena.
    """

    def __call__(
        self, rooms: Mapping[str, int] | None = None, arena: int | None = None, *, packs: bool = True
    ) -> Program: ...


Sizes = Callable[[Node], Collection[int]]
"""Gives the bytes of scratch that the plans for a layer need."""


def preferred(first: Program, fastest: float, prefer: Prefer, lowered: Lowered, sizes: Sizes) -> Program:
    """Of programs with more or less scratch and packing, the one with the best product of cycles and arena; a balanced
    one takes no more flash than the first.

    Args:
        first: with the fastest kernels, packed where that makes the arena smaller.
        fastest: cycles of the kernels with all the scratch that helps them, nothing packed.
        prefer: how much the arena counts.
        lowered, sizes: give others.
    """
    decides = first.memory.arena_bytes > _DECIDES * max(live_without_scratch(first), default=0)
    if prefer != Prefer.SPEED and not decides and cycles_of(first) <= _CLOSE * fastest:
        return first
    found = ways(first, lowered, sizes)
    if prefer == Prefer.BALANCE:
        found = [one for one in found if flash_of(one) <= flash_of(first)]
    return best(found, prefer)


def best(found: Sequence[Program], prefer: Prefer) -> Program:
    """Of programs the one that is preferred."""
    free = _FREE if prefer == Prefer.BALANCE else 1
    return min(found, key=lambda one: price(_cost(one), _WORTH[prefer], free))


def ways(first: Program, lowered: Lowered, sizes: Sizes) -> list[Program]:
    """Programs for all arenas in which a layer has room for another plan, with and without packed activations.

    They depend on no limit: of those within one, the fastest is never slower if the limit is larger.
    """
    bases = [(True, first), *([(False, lowered(packs=False))] if first.packed else [])]
    lives = [live_without_scratch(base) for _, base in bases]
    tried = {
        live + aligned(size)
        for (_, base), bare in zip(bases, lives, strict=True)
        for step, live in zip(base.steps, bare, strict=False)
        for size in sizes(step.node)
    }
    found = [base for _, base in bases]
    for (packs, base), bare in zip(bases, lives, strict=True):
        least = max(bare, default=0)
        found += [lowered(rooms(base, bare, size), size, packs=packs) for size in _apart({least, *tried}, least)]
    return found


def _apart(sizes: Collection[int], least: int) -> Iterator[int]:
    """Those from the least on, of close ones the largest."""
    return iter({int(math.log(size / least, _APART)): size for size in sorted(sizes) if size >= least > 0}.values())


def _cost(program: Program) -> tuple[float, int]:
    return cycles_of(program), program.memory.arena_bytes


def live_without_scratch(program: Program) -> list[int]:
    """Bytes of activations that live at each step."""
    plans = [replace(step.plan, scratch_bytes=0) for step in program.steps]
    return live_bytes(program.graph, plans, caller=program.caller)


def rooms(program: Program, bare: list[int], arena: int) -> dict[str, int]:
    """Bytes of scratch that each layer may have within an arena."""
    return {step.node.op.name: max(arena - live, 0) for step, live in zip(program.steps, bare, strict=False)}


def cycles_of(program: Program) -> float:
    """Of an inference, calls of layers included."""
    return sum(step.plan.cycles for step in program.steps) + CALL_CYCLES * len(program.layers)


def flash_of(program: Program) -> int:
    """Bytes of weights, those that are instructions included."""
    return sum(step.plan.weight_bytes + step.plan.code_bytes for step in program.steps)
