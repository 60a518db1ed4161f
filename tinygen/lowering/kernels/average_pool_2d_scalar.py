"""Tuned kernel of AVERAGE_POOL_2D for cores without SIMD: windows written out, divided by multiplication."""

from __future__ import annotations

import numpy as np

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D
from tinygen.lowering.kernels.pool_2d_dsp import whole_windows
from tinygen.lowering.kernels.support.window import window_context, window_stem
from tinygen.lowering.plan import KernelPlan, kernel

_LARGEST = 25
"""Taps that are written out."""


@kernel(AveragePool2D, name="average_pool_2d_s8_scalar", family="tinygen", isa="scalar")
def average_pool_2d_s8_scalar(node: Node) -> KernelPlan | None:
    """Small windows; those at the border use the plain kernel's division."""
    op = node.op
    assert isinstance(op, AveragePool2D)
    taps = op.kernel[0] * op.kernel[1]
    scaling = whole_windows(node) if node.output.dtype == np.int8 and taps <= _LARGEST else None
    if scaling is None:
        return None
    geometry = op.geometry(node)
    low, high = quantized_activation_range(op.activation, node.output)
    return KernelPlan(
        template="pool_2d/average_pool_2d_s8_scalar.c.j2",
        stem=window_stem("average_pool_s8_scalar", geometry),
        context={
            **window_context(node, geometry),
            "low": low,
            "high": high,
            "clamped": low > -128 or high < 127,
            **scaling,
        },
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=node.output.size * (3.2 * taps + 16.0),
    )
