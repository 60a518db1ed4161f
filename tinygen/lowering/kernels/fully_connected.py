"""Kernels of FULLY_CONNECTED."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.support import mac
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(FullyConnected, name="fully_connected_s8")
def fully_connected_s8(node: Node) -> KernelPlan | None:
    """Plain loops, one output at a time; the input zero point is folded into the bias."""
    x, weights = node.input(0), node.input(1)
    if x.dtype != np.int8 or weights.data is None:
        return None
    outputs, depth = weights.shape
    requantization = mac.requantization(node, channels=outputs)
    rows = x.size // depth
    return KernelPlan(
        template="fully_connected/fully_connected_s8.c.j2",
        stem=f"fully_connected_s8_{depth}x{outputs}",
        context={"rows": rows, "depth": depth, "outputs": outputs, **requantization.context},
        constants=(
            Constant("weights", weights.data.reshape(-1), f"[{outputs}, {depth}]"),
            mac.folded_bias(node, axis=0),
            *requantization.constants,
        ),
        cycles=3.0 * rows * outputs * depth + 20.0 * rows * outputs,
    )
