"""Graph to Program: choose kernels, find lifetimes, place buffers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tinygen.errors import TinygenError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.lowering.library import KernelLibrary
from tinygen.lowering.plan import Kernel, KernelPlan
from tinygen.lowering.planner import Buffer, MemoryPlan, plan_memory
from tinygen.lowering.program import Program, Step
from tinygen.lowering.scratch import spend_scratch
from tinygen.lowering.select import Choice, choose


@dataclass
class _Slot:
    """A buffer in the making; tensors computed in place share one."""

    name: str
    size: int
    first: int
    last: int


def lower(
    graph: Graph,
    *,
    family: str = "tinygen",
    isa: Collection[str] = ("c99",),
    library: KernelLibrary | None = None,
) -> Program:
    """Chooses a kernel per layer and places every tensor.

    Args:
        graph: a validated graph, after the passes.
        family: see `choose`.
        isa: instruction sets of the board's core.
        library: the vendor's library, for a family that calls one.

    Raises:
        UnsupportedError: no kernel matches a layer.
        TinygenError: the family wants a library and none is given, or it lacks a function.
    """
    choices = [_with_scratch(node, choose(node, family, isa), library) for node in graph.nodes()]
    least = [choice.variants[0] for choice in choices]
    plans = spend_scratch(choices, _place(graph, least).buffers)
    placement = _place(graph, plans)
    return Program(
        graph=graph,
        steps=_steps(graph, [choice.kernel for choice in choices], plans, placement.scratch),
        offsets=placement.tensors,
        buffers=placement.buffers,
        memory=placement.memory,
    )


@dataclass(frozen=True)
class _Placement:
    """Buffers and where they are: offsets of tensors by name, of scratch by step."""

    buffers: tuple[Buffer, ...]
    memory: MemoryPlan
    tensors: dict[str, int]
    scratch: dict[int, int]


def _place(graph: Graph, plans: Sequence[KernelPlan]) -> _Placement:
    slots, slot_of = _lifetimes(graph, plans)
    scratch = {
        index: _Slot(f"scratch of {op.name}", plan.scratch_bytes, index, index)
        for index, (op, plan) in enumerate(zip(graph.ops, plans, strict=True))
        if plan.scratch_bytes
    }
    all_slots = [*slots, *scratch.values()]
    buffers = tuple(Buffer(slot.name, slot.size, slot.first, slot.last) for slot in all_slots)
    memory = plan_memory(buffers)
    place = {id(slot): offset for slot, offset in zip(all_slots, memory.offsets, strict=True)}
    return _Placement(
        buffers,
        memory,
        {name: place[id(slot)] for name, slot in slot_of.items()},
        {index: place[id(slot)] for index, slot in scratch.items()},
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
    graph: Graph, kernels: Sequence[Kernel], plans: Sequence[KernelPlan], scratch: dict[int, int]
) -> tuple[Step, ...]:
    steps = []
    layer = 0
    for index, (node, kernel, plan) in enumerate(zip(graph.nodes(), kernels, plans, strict=True)):
        steps.append(Step(-1 if plan.is_alias else layer, node, kernel, plan, scratch.get(index, 0)))
        layer += 0 if plan.is_alias else 1
    return tuple(steps)


def _last_uses(graph: Graph) -> dict[str, int]:
    """The last step that reads each tensor; outputs of the model stay to the end."""
    last = dict.fromkeys(graph.inputs, 0)
    for step, op in enumerate(graph.ops):
        for name in (*op.inputs, *op.outputs):
            last[name] = step
    last.update({name: len(graph.ops) for name in graph.outputs})
    return last


def _lifetimes(graph: Graph, plans: Sequence[KernelPlan]) -> tuple[list[_Slot], dict[str, _Slot]]:
    last = _last_uses(graph)
    slots: list[_Slot] = []
    slot_of: dict[str, _Slot] = {}

    def new_slot(name: str, step: int) -> None:
        slot_of[name] = _Slot(name, graph.tensors[name].nbytes, step, last[name])
        slots.append(slot_of[name])

    for name in graph.inputs:
        # Inputs are written before the first layer, all of them at once.
        new_slot(name, 0)
    for step, (op, plan) in enumerate(zip(graph.ops, plans, strict=True)):
        reused: set[int] = set()
        for index, name in enumerate(op.outputs):
            donor = _donor(graph, op.inputs, slot_of, plan, index, step, reused)
            if donor is None:
                new_slot(name, step)
            else:
                reused.add(id(donor))
                donor.last = max(donor.last, last[name])
                slot_of[name] = donor
    return slots, slot_of


def _donor(
    graph: Graph,
    inputs: tuple[str, ...],
    slot_of: dict[str, _Slot],
    plan: KernelPlan,
    output: int,
    step: int,
    reused: set[int],
) -> _Slot | None:
    """The input's slot that this output may take over: always for aliases, else if the input dies here."""
    for source, target in plan.inplace:
        slot = slot_of.get(inputs[source])
        if target != output or slot is None or id(slot) in reused:
            continue
        if plan.is_alias:
            return slot
        if slot.last == step and graph.tensors[graph.ops[step].outputs[output]].nbytes <= slot.size:
            return slot
    return None
