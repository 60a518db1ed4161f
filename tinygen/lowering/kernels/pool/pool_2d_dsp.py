"""Tuned kernels of MAX_POOL_2D for Armv7E-M: four int8 channels in a word, or two of int16."""

from __future__ import annotations

import numpy as np

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(MaxPool2D, name="max_pool_2d_s8_dsp", family="tinygen", isa="dsp")
def max_pool_2d_s8_dsp(node: Node) -> KernelPlan | None:
    """Maxima of four bytes at once."""
    if node.output.dtype != np.int8 or node.output.shape[3] < 4:
        return None
    return _plan(node, "max_pool_s8_dsp", tap=2.0)


@kernel(MaxPool2D, name="max_pool_2d_s16_dsp", family="tinygen", isa="dsp")
def max_pool_2d_s16_dsp(node: Node) -> KernelPlan | None:
    """Maxima of two halves at once."""
    if node.output.dtype != np.int16 or node.output.shape[3] < 2:
        return None
    assert isinstance(node.op, MaxPool2D)
    low, high = quantized_activation_range(node.op.activation, node.output)
    halves = {
        "clamped": low > -(2**15) or high < 2**15 - 1,
        "lanes": 2,
        "type": "int16_t",
        "start": "0x80008000U",
        "maximum": "tg_max_pair",
    }
    return _plan(node, "max_pool_s16_dsp", tap=4.0, **halves)


def _plan(node: Node, stem: str, *, tap: float, **context: object) -> KernelPlan:
    """Of words of codes; `tap` is the cycles of a code of a window."""
    op = node.op
    assert isinstance(op, MaxPool2D)
    geometry = op.geometry(node)
    low, high = quantized_activation_range(op.activation, node.output)
    return KernelPlan(
        template="pool/pool_2d_dsp.c.j2",
        stem=window_stem(stem, geometry),
        context={**window_context(node, geometry), "low": low, "high": high, "source": "input", "flip": "", **context},
        headers=("tinygen_extrema.h", "tinygen_math.h", "tinygen_simd.h"),
        cycles=tap * node.output.size * op.kernel[0] * op.kernel[1] + 5.0 * node.output.size,
    )
