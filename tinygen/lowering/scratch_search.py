"""Chooses kernels by what their scratch costs the network: smaller arenas are tried where scratch decides the arena."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from tinygen.lowering.lifetimes import live_bytes
from tinygen.lowering.program import Program


class Prefer(StrEnum):
    """What matters more: a small arena, or few cycles."""

    RAM = "ram"
    BALANCE = "balance"
    SPEED = "speed"


_WORTH = {Prefer.RAM: 2.0, Prefer.BALANCE: 0.5, Prefer.SPEED: 0.02}
"""By how many per cent cycles may rise for an arena that is one per cent smaller."""
_SHARES = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0)
"""Arenas that are tried, as multiples of the bytes of activations alone."""
_DECIDES = 1.02
"""From here on scratch decides the arena."""

_SLOWER = 1.05
"""What a smaller arena may cost where neither is preferred."""

Lowered = Callable[[Mapping[str, int], int], Program]
"""Gives the program for (bytes of scratch by layer, largest arena); that may be larger where nothing else is found."""


def preferred(first: Program, prefer: Prefer, lowered: Lowered) -> Program:
    """Of programs with more or less scratch the one with the best product of cycles and arena.

    A balanced one is no slower than the first by more than a twentieth, and neither its arena nor its flash is larger.

    Args:
        first: with the fastest kernels.
        prefer: how much the arena counts.
        lowered: gives others.
    """
    bare = live_without_scratch(first)
    peak, arena = max(bare, default=0), first.memory.arena_bytes
    if prefer != Prefer.SPEED and arena <= _DECIDES * peak:
        return first
    tried = [size for size in _arenas(peak) if prefer == Prefer.SPEED or size < arena]
    others = [lowered(rooms(first, bare, size), size) for size in tried]
    if prefer == Prefer.BALANCE:
        others = [one for one in others if _is_no_worse(one, first)]
    return min([first, *others], key=lambda one: _price(one, prefer))


def _is_no_worse(one: Program, first: Program) -> bool:
    slower = cycles_of(one) > _SLOWER * cycles_of(first)
    return not slower and flash_of(one) <= flash_of(first) and one.memory.arena_bytes <= first.memory.arena_bytes


def within(first: Program, limit: int, lowered: Lowered) -> Iterator[Program]:
    """Programs whose kernels have the scratch that there is within a limit; each is within it.

    Args:
        first: any program of the network.
        limit: of the arena.
        lowered: as above.
    """
    bare = live_without_scratch(first)
    peak = max(bare, default=0)
    arenas = [limit, *(arena for arena in _arenas(peak) if arena < limit)]
    found = (lowered(rooms(first, bare, arena), arena) for arena in arenas)
    return (one for one in found if one.memory.arena_bytes <= limit)


def smallest(first: Program, lowered: Lowered) -> Program:
    """The program with the least scratch, whatever it costs."""
    bare = live_without_scratch(first)
    peak = max(bare, default=0)
    return min([first, lowered(rooms(first, bare, peak), peak)], key=lambda one: one.memory.arena_bytes)


def live_without_scratch(program: Program) -> list[int]:
    """Bytes of activations that live at each step."""
    plans = [replace(step.plan, scratch_bytes=0) for step in program.steps]
    return live_bytes(program.graph, plans, caller=program.caller)


def rooms(program: Program, bare: list[int], arena: int) -> dict[str, int]:
    """Bytes of scratch that each layer may have within an arena."""
    return {step.node.op.name: max(arena - live, 0) for step, live in zip(program.steps, bare, strict=False)}


def cycles_of(program: Program) -> float:
    return sum(step.plan.cycles for step in program.steps)


def flash_of(program: Program) -> int:
    """Bytes of weights, those that are instructions included."""
    return sum(step.plan.weight_bytes + step.plan.code_bytes for step in program.steps)


def _arenas(peak: int) -> Iterator[int]:
    return (int(peak * share) for share in _SHARES)


def _price(program: Program, prefer: Prefer) -> float:
    return float(cycles_of(program) * max(program.memory.arena_bytes, 1) ** _WORTH[prefer])
