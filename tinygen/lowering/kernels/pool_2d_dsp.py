"""Tuned kernels of AVERAGE_POOL_2D and MAX_POOL_2D for Armv7E-M: four int8 channels in a word."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D, Pool2D
from tinygen.lowering.kernels.support.staircase import Staircase, fit
from tinygen.lowering.kernels.support.window import window_context, window_stem
from tinygen.lowering.plan import KernelPlan, kernel

_MOST_TAPS = 255
"""Sums of as many int8 codes fit 16 bits."""


def _pool(node: Node, kind: str, scaling: dict[str, Any]) -> KernelPlan:
    op = node.op
    assert isinstance(op, Pool2D)
    geometry = op.geometry(node)
    low, high = quantized_activation_range(op.activation, node.output)
    return KernelPlan(
        template="pool_2d/pool_2d_s8_dsp.c.j2",
        stem=window_stem(f"{kind}_pool_s8_dsp", geometry),
        context={
            **window_context(node, geometry),
            "average": kind == "average",
            "low": low,
            "high": high,
            "clamped": low > -128 or high < 127,
            "source": "input",
            "flip": "",
            **scaling,
        },
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=2.0 * node.output.size * op.kernel[0] * op.kernel[1] + 5.0 * node.output.size,
    )


def _matches(node: Node) -> bool:
    return node.output.dtype == np.int8 and node.output.shape[3] >= 4


@kernel(MaxPool2D, name="max_pool_2d_s8_dsp", family="tinygen", isa="dsp")
def max_pool_2d_s8_dsp(node: Node) -> KernelPlan | None:
    """Maxima of four bytes at once."""
    return _pool(node, "max", {}) if _matches(node) else None


@kernel(AveragePool2D, name="average_pool_2d_s8_dsp", family="tinygen", isa="dsp")
def average_pool_2d_s8_dsp(node: Node) -> KernelPlan | None:
    """Sums of pairs; the division of a whole window is a multiplication."""
    op = node.op
    assert isinstance(op, AveragePool2D)
    taps = op.kernel[0] * op.kernel[1]
    scaling = whole_windows(node) if _matches(node) and taps <= _MOST_TAPS else None
    return None if scaling is None else _pool(node, "average", scaling)


def whole_windows(node: Node) -> dict[str, Any] | None:
    """Template values of the multiplication that divides the sum of a whole int8 window; None where none does."""
    op = node.op
    assert isinstance(op, AveragePool2D)
    taps = op.kernel[0] * op.kernel[1]
    low, high = quantized_activation_range(op.activation, node.output)

    def codes(sums: np.ndarray) -> np.ndarray:
        return np.clip(rounded_quotient(sums, taps), low, high)

    least, most = np.array([-128 * taps]), np.array([127 * taps])
    found = fit(Staircase(codes, np.array([1.0 / taps]), least, most, low, high))
    if found is None:
        return None
    names = ("multiplier", "offset", "shift")
    return {
        "form": "fused",
        "unit": 1,
        "literals": list(names),
        "multiplier": int(found.multiplier[0]),
        "offset": int(found.offset[0]),
        "shift": found.shift,
        "moved": int(found.moved[0]),
    }


def rounded_quotient(sums: np.ndarray, count: int) -> np.ndarray:
    """sums / count, ties away from zero, as C's truncating division of sums + or - count / 2 gives it."""
    shifted = np.where(sums > 0, sums + count // 2, sums - count // 2)
    return np.asarray(np.sign(shifted) * (np.abs(shifted) // count))
