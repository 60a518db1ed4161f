"""Kernels of SOFTMAX."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.softmax import Softmax
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(Softmax, name="softmax_s8")
def softmax_s8(node: Node) -> KernelPlan | None:
    """A table of exponentials, one reciprocal per row."""
    op = node.op
    assert isinstance(op, Softmax)
    if node.output.is_float:
        return None
    depth = node.output.shape[-1]
    table = op.exponentials(node).astype(np.int32)
    return KernelPlan(
        template="softmax/softmax_s8.c.j2",
        stem="softmax_s8",
        context={"rows": node.output.size // depth, "depth": depth, "known": len(table)},
        constants=(Constant("exponentials", table, "exp(-beta * scale * d) with 31 fractional bits"),),
        inplace=((0, 0),),
        cycles=30.0 * node.output.size,
    )


@kernel(Softmax, name="softmax_f32")
def softmax_f32(node: Node) -> KernelPlan | None:
    """Plain, in single precision."""
    op = node.op
    assert isinstance(op, Softmax)
    if not node.output.is_float:
        return None
    depth = node.output.shape[-1]
    return KernelPlan(
        template="softmax/softmax_f32.c.j2",
        stem="softmax_f32",
        context={"rows": node.output.size // depth, "depth": depth, "beta": op.beta},
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_float.h"),
        cycles=60.0 * node.output.size,
    )
