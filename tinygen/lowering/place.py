"""Lays out a graph with chosen kernels in the arena: first with least scratch, then spends the bytes left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinygen.ir.graph import Graph
from tinygen.lowering.layers import numbered
from tinygen.lowering.lifetimes import Ahead, lay_out, live_bytes
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.planner import ALIGNMENT, aligned, plan_memory
from tinygen.lowering.program import Ordering, Program, Step
from tinygen.lowering.scratch import budget_without_limit, spend_scratch
from tinygen.lowering.select import Choice
from tinygen.lowering.states import final_moves

_TRIES = 4
"""Memory plans with more scratch that are made, before a limited arena stays with the least."""
TRY_NODES = 1000
"""Of branch and bound, for each of them: such a plan need not be the smallest, only within the limit."""


@dataclass(frozen=True, eq=False)
class Draft:
    """A program that uses the variants with least scratch, and the alternatives.

    Attributes:
        program: with least scratch.
        choices: per step, the kernel with all its variants.
        ahead: the tensor that may overlap the tensor it is computed from, if any.
    """

    program: Program
    choices: tuple[Choice, ...]
    ahead: Ahead | None = None

    @property
    def caller(self) -> frozenset[str]:
        """Inputs and outputs in buffers of the caller."""
        return self.program.caller

    @property
    def arena_bytes(self) -> int:
        return self.program.memory.arena_bytes


def least_scratch(choices: Sequence[Choice]) -> list[KernelPlan]:
    """Per step the plan with least scratch."""
    return [choice.variants[0] for choice in choices]


def draft(
    graph: Graph, choices: Sequence[Choice], ahead: Ahead | None = None, caller: frozenset[str] = frozenset()
) -> Draft:
    """The program that executes the operators in the graph's order, with the least scratch."""
    return Draft(placed(graph, choices, least_scratch(choices), ahead, caller), tuple(choices), ahead)


def finished(least: Draft, limit: int | None = None, scratch_bytes: int | None = None) -> Program:
    """The program with scratch assigned.

    Args:
        least: the draft; its arena is within the limit.
        limit: of the arena, bytes; None lets it grow as `budget_without_limit` says.
        scratch_bytes: without a limit, the live bytes up to which layers get scratch.
    """
    program, choices = least.program, least.choices
    frugal = least_scratch(choices)
    live = live_bytes(program.graph, frugal, least.ahead, least.caller)
    budget = scratch_bytes if limit is None else limit
    if budget is None:
        budget = budget_without_limit(max(live, default=0))
    for _ in range(_TRIES):
        plans = spend_scratch(choices, live, budget)
        if plans == frugal:
            break
        nodes = None if limit is None else TRY_NODES
        spent = placed(program.graph, choices, plans, least.ahead, least.caller, nodes)
        if limit is None or spent.memory.arena_bytes <= limit:
            return replace(spent, ordering=program.ordering, streamed=program.streamed)
        # Live bytes would fit, but no placement within the limit was found.
        budget -= max(spent.memory.arena_bytes - limit, ALIGNMENT)
    return program


def placed(
    graph: Graph,
    choices: Sequence[Choice],
    plans: Sequence[KernelPlan],
    ahead: Ahead | None,
    caller: frozenset[str],
    nodes: int | None = None,
) -> Program:
    """The program with these plans; `nodes` as for `plan_memory`."""
    layout = lay_out(graph, plans, ahead, caller)
    unit = max((plan.alignment for plan in plans), default=ALIGNMENT)
    buffers = tuple(buffer.in_units(unit) for buffer in layout.buffers)
    overlays = tuple(replace(o, distance=aligned(o.distance, unit)) for o in layout.overlays)
    memory = plan_memory(buffers, overlays, **({} if nodes is None else {"nodes": nodes}))
    place = {id(slot): offset for slot, offset in zip(layout.slots, memory.offsets, strict=True)}
    offsets = {name: place[id(p.slot)] + p.offset for name, p in layout.places.items() if name not in layout.ported}
    return Program(
        graph=graph,
        steps=_steps(graph, choices, plans, {index: place[id(slot)] for index, slot in layout.scratch.items()}),
        offsets=offsets,
        buffers=buffers,
        memory=memory,
        ordering=Ordering(memory.arena_bytes, False, False),
        moves=final_moves(graph, layout.places),
        caller=caller,
        ported=layout.ported,
    )


def _steps(
    graph: Graph, choices: Sequence[Choice], plans: Sequence[KernelPlan], scratch: dict[int, int]
) -> tuple[Step, ...]:
    steps = []
    layer = 0
    for index, (node, choice, plan) in enumerate(zip(graph.nodes(), choices, plans, strict=True)):
        branches, marks, after = numbered(choice.branches, layer)
        after += 0 if plan.is_alias or branches else 1
        number = -1 if plan.is_alias else after - 1
        steps.append(Step(number, node, choice.kernel, plan, scratch.get(index, 0), branches, marks))
        layer = after
    return tuple(steps)
