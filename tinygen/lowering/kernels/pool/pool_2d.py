"""Kernels of AVERAGE_POOL_2D and MAX_POOL_2D."""

from __future__ import annotations

import numpy as np

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D, Pool2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.plan import KernelPlan, kernel


def _pool(node: Node, *, average: bool) -> KernelPlan:
    op = node.op
    assert isinstance(op, Pool2D)
    real = node.output.is_float
    geometry = op.geometry(node)
    kind = {"float32": "f32", "int8": "s8", "int16": "s16"}[node.output.dtype.name]
    if real:
        clamp = mac.float_clamp(node)
    else:
        low, high = quantized_activation_range(op.activation, node.output)
        clamp = {"low": low, "high": high}
    lowest = "-3.402823466e38f" if real else str(np.iinfo(node.output.dtype).min)
    zero = "0.0f" if real else "0"
    taps = op.kernel[0] * op.kernel[1]
    largest = 10.0 if any(axis.padded for axis in geometry) else 6.0
    return KernelPlan(
        template="pool/pool_2d.c.j2",
        stem=window_stem(f"{'average' if average else 'max'}_pool_{kind}", geometry),
        context={
            **window_context(node, geometry),
            "average": average,
            "real": real,
            "type": ctype(node.output.dtype),
            "acc_type": "float" if real else "int32_t",
            "start": zero if average else lowest,
            **clamp,
        },
        cycles=node.output.size * (30.0 + 8.0 * op.kernel[0] + 4.0 * taps if average else largest * taps),
    )


@kernel(AveragePool2D, name="average_pool_2d")
def average_pool_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any type."""
    return _pool(node, average=True)


@kernel(MaxPool2D, name="max_pool_2d")
def max_pool_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any type."""
    return _pool(node, average=False)
