"""RESHAPE computes nothing: its output is at its input's address. Only a constant has to be copied to the arena."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.reshape import Reshape
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Reshape, name="alias", moves=True)
def alias(node: Node) -> KernelPlan | None:
    if node.input(0).is_constant:
        return None
    return KernelPlan(template="", inplace=((0, 0),))


@kernel(Reshape, name="reshape_constant", moves=True)
def reshape_constant(node: Node) -> KernelPlan | None:
    """One part, laid beside nothing."""
    if not node.input(0).is_constant:
        return None
    return KernelPlan(
        template="movement/concatenation.c.j2",
        stem=f"copy_{node.output.dtype.name}",
        context={"outer": 1, "runs": [node.output.size]},
        operands=(("input0", 0),),
        cycles=2.0 * node.output.size,
    )
