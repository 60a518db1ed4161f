"""Tuned kernel of ADD on int8 codes."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add
from tinygen.lowering.kernels.support.sums import fit_sum
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Add, name="add_s8", family="tinygen")
def add_s8(node: Node) -> KernelPlan | None:
    """One linear form of both codes, proven for all pairs; operands of one shape."""
    if not node.input(0).shape == node.input(1).shape == node.output.shape or node.output.dtype != np.int8:
        return None
    linear = fit_sum(node)
    if linear is None:
        return None
    size = node.output.size
    return KernelPlan(
        template="binary/add_s8.c.j2",
        stem="add_s8",
        context={"size": size, "form": linear.context()},
        operands=(("first", 0), ("second", 1)),
        constants=linear.constants(),
        inplace=((0, 0), (1, 0)),
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=10.0 * size,
    )
