"""SELECT: element by element, broadcast."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.select import Select
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Select, name="select", moves=True)
def select(node: Node) -> KernelPlan | None:
    shape = node.output.shape
    nest = make_nest(shape, [broadcast_strides(node.input(i).shape, len(shape)) for i in range(3)], (0, 0, 0))
    return KernelPlan(
        template="elementwise/select.c.j2",
        stem=f"select_{node.output.dtype.name}",
        context=nest.context(),
        operands=(("condition", 0), ("first", 1), ("second", 2)),
        # By size, not shape: an operand of as many elements is walked in the output's order.
        inplace=tuple((i, 0) for i in (1, 2) if node.input(i).size == node.output.size),
        cycles=6.0 * node.output.size,
    )
