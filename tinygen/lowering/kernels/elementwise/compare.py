"""COMPARE: element by element."""

from __future__ import annotations

from typing import Any

from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.compare import LEFT_SHIFT, Compare, Relation
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import KernelPlan, kernel

_SYMBOLS = {
    Relation.LESS: "<",
    Relation.LESS_EQUAL: "<=",
    Relation.GREATER: ">",
    Relation.GREATER_EQUAL: ">=",
    Relation.EQUAL: "==",
    Relation.NOT_EQUAL: "!=",
}


@kernel(Compare, name="compare")
def compare(node: Node) -> KernelPlan | None:
    """Codes as stored; no packed codes."""
    op, first, second = node.op, node.input(0), node.input(1)
    assert isinstance(op, Compare)
    if first.packed_bits or second.packed_bits:
        return None
    shape = node.output.shape
    # Of one element: its own shape may have more dimensions.
    strides = [broadcast_strides(t.shape if t.size > 1 else (), len(shape)) for t in (first, second)]
    return KernelPlan(
        template="elementwise/compare.c.j2",
        stem=f"{op.relation}_{first.dtype.name}",
        context={
            **make_nest(shape, strides, (0, 0)).context(),
            "symbol": _SYMBOLS[op.relation],
            "type": ctype(node.output.memory_dtype),
            **(_scales(first, second) if op.scaled else {}),
        },
        operands=(("first", 0), ("second", 1)),
        cycles=(20.0 if op.scaled else 5.0) * node.output.size,
    )


def _scales(first: Tensor, second: Tensor) -> dict[str, Any]:
    """Scales of operands, for comparisons as in TFLite."""
    return {
        "left_shift": LEFT_SHIFT,
        "zeros": [tensor.zero_point for tensor in (first, second)],
        "scales": [list(quantize_multiplier(tensor.scale)) for tensor in (first, second)],
    }
