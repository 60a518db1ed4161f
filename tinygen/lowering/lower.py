"""Graph to Program: choose kernels, order operators, find lifetimes, place buffers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from tinygen.errors import TinygenError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.lowering.fuse import fuse
from tinygen.lowering.library import KernelLibrary
from tinygen.lowering.lifetimes import Slot, assign_slots
from tinygen.lowering.order import best_order
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.planner import Buffer, plan_memory
from tinygen.lowering.program import Ordering, Program, Step
from tinygen.lowering.scratch import spend_scratch
from tinygen.lowering.select import Choice, choose


def lower(
    graph: Graph,
    *,
    family: str = "tinygen",
    isa: Collection[str] = ("c99",),
    library: KernelLibrary | None = None,
) -> Program:
    """Chooses a kernel per layer, orders the layers for the smallest arena and places every tensor.

    Args:
        graph: a validated graph, after the passes.
        family: one of `select.FAMILIES`.
        isa: instruction sets of the board's core.
        library: what a family such as "cmsis-nn" calls.

    Raises:
        UnsupportedError: no kernel matches a layer.
        TinygenError: the family wants a library and none is given, or it lacks a function.
    """
    graph = fuse(graph, family, isa)
    choices = [_with_scratch(node, choose(node, family, isa), library) for node in graph.nodes()]
    least = [choice.variants[0] for choice in choices]
    given = _placed(graph, choices, least)
    schedule = best_order(graph, least)
    changed, kept = False, schedule.order == tuple(range(len(graph.ops)))
    best = given
    if not kept:
        ordered = [choices[i] for i in schedule.order]
        reordered = _placed(
            replace(graph, ops=tuple(graph.ops[i] for i in schedule.order)), ordered, [c.variants[0] for c in ordered]
        )
        changed = reordered.memory.arena_bytes < given.memory.arena_bytes
        if changed:
            best, choices = reordered, ordered
    program = _placed(best.graph, choices, spend_scratch(choices, best.buffers))
    optimal = schedule.optimal and (changed or kept)
    return replace(program, ordering=Ordering(given.memory.arena_bytes, changed, optimal), isa=frozenset(isa))


def _placed(graph: Graph, choices: Sequence[Choice], plans: Sequence[KernelPlan]) -> Program:
    """The program that executes the operators in the graph's order, by these plans."""
    slots, places = assign_slots(graph, plans)
    scratch = {
        index: Slot(f"scratch of {op.name}", plan.scratch_bytes, index, index)
        for index, (op, plan) in enumerate(zip(graph.ops, plans, strict=True))
        if plan.scratch_bytes
    }
    all_slots = [*slots, *scratch.values()]
    buffers = tuple(Buffer(slot.name, slot.size, slot.first, slot.last) for slot in all_slots)
    memory = plan_memory(buffers)
    place = {id(slot): offset for slot, offset in zip(all_slots, memory.offsets, strict=True)}
    return Program(
        graph=graph,
        steps=_steps(graph, choices, plans, {index: place[id(slot)] for index, slot in scratch.items()}),
        offsets={name: place[id(p.slot)] + p.offset for name, p in places.items()},
        buffers=buffers,
        memory=memory,
        ordering=Ordering(memory.arena_bytes, False, False),
    )


def _with_scratch(node: Node, choice: Choice, library: KernelLibrary | None) -> Choice:
    """A plan that calls a library, with the scratch that the library asks for; other plans as they are."""
    if all(plan.library is None for plan in choice.variants):
        return choice
    if library is None:
        raise TinygenError(
            f"kernels of family {choice.kernel.family} call a library, and none is given",
            where=node.describe(),
            fix="Give lower() a `library`.",
        )
    variants = []
    for plan in choice.variants:
        size = 0 if plan.library is None else library.scratch_bytes(plan.library)
        variants.append(replace(plan, scratch_bytes=size, context={**plan.context, "scratch_bytes": size}))
    return Choice(choice.kernel, tuple(variants))


def _steps(
    graph: Graph, choices: Sequence[Choice], plans: Sequence[KernelPlan], scratch: dict[int, int]
) -> tuple[Step, ...]:
    steps = []
    layer = 0
    for index, (node, choice, plan) in enumerate(zip(graph.nodes(), choices, plans, strict=True)):
        steps.append(Step(-1 if plan.is_alias else layer, node, choice.kernel, plan, scratch.get(index, 0)))
        layer += 0 if plan.is_alias else 1
    return tuple(steps)
