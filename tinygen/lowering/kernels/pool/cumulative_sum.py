"""CUMSUM: each element from its neighbour."""

from __future__ import annotations

import math

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.cumulative_sum import CumulativeSum
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(CumulativeSum, name="cumulative_sum")
def cumulative_sum(node: Node) -> KernelPlan | None:
    op, x = node.op, node.input(0)
    assert isinstance(op, CumulativeSum)
    inner = math.prod(x.shape[op.axis + 1 :])
    kind = ctype(x.dtype)
    return KernelPlan(
        template="pool/cumulative_sum.c.j2",
        stem=f"cumulative_sum_{x.dtype.name}",
        context={
            "outer": math.prod(x.shape[: op.axis]),
            "inner": inner,
            "size": x.shape[op.axis] * inner,
            "exclusive": op.exclusive,
            "reverse": op.reverse,
            "type": kind,
            # Signed sums that overflow have no meaning in C, unsigned ones wrap.
            "sum_type": "" if x.is_float else f"u{kind}" if x.dtype in (np.int32, np.int64) else kind,
        },
        inplace=() if op.exclusive else ((0, 0),),
        cycles=8.0 * x.size,
    )
