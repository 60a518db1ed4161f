"""Lowers branches to programs of their own, whose arenas are in the scratch of the branch operator's step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.lowering.planner import ALIGNMENT
from tinygen.lowering.program import Program
from tinygen.lowering.select import CMSIS_NN, ESP_NN, Choice, Family

CHOOSING = 10.0
"""Cycles of the switch."""
_PER_BYTE = 0.5
"""Cycles, where an input or output of a branch is copied."""


def branched(op: Branch, choice: Choice, lower: Callable[[Graph], Program]) -> Choice:
    """The choice for a branch operator, with its branches lowered; each reads inputs and writes outputs in place.

    Only one branch runs, so they share scratch of the size that the largest needs. Cycles are those of the slowest.

    Args:
        lower: lowers a graph to a program with buffers of the caller.
    """
    programs = tuple(lower(named_branch(op, number)) for number in range(len(op.branches)))
    plan = replace(
        choice.variants[0],
        scratch_bytes=max(program.memory.arena_bytes for program in programs),
        cycles=CHOOSING + max(_cycles(program) for program in programs),
        alignment=max(ALIGNMENT, *(program.alignment for program in programs)),
    )
    return replace(choice, variants=(plan,), branches=programs)


def family_within(family: str) -> str:
    """The kernel family of layers in branches, which cannot call a vendor's library."""
    return Family.TINYGEN if family in (CMSIS_NN, ESP_NN) else family


def named_branch(op: Branch, number: int) -> Graph:
    """A branch with the layer names that reports and the C use: branch/0/conv."""
    graph, name = op.branches[number], f"{op.name}/{number}"
    return replace(graph, name=name, ops=tuple(replace(inner, name=f"{name}/{inner.name}") for inner in graph.ops))


def _cycles(program: Program) -> float:
    return sum(step.plan.cycles for step in program.steps) + handing_cycles(program)


def handing_cycles(program: Program) -> float:
    """Cycles to copy inputs and outputs of a branch that are not in the caller's buffers."""
    copied = sum(
        tensor.nbytes
        for tensor in (*program.inputs, *program.outputs)
        if program.ported.get(tensor.name) != (tensor.name, 0)
    )
    handed_on = sum(tensor.nbytes for tensor in program.outputs if tensor.name in program.graph.inputs)
    return _PER_BYTE * (copied + handed_on)
