"""Kernels of one-operand functions of 16-bit codes: straight lines, tables of 513 samples, the table of sigmoids."""

from __future__ import annotations

import numpy as np

from tinygen.ir import sigmoid_16
from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.elementary import Exp, Log, Rsqrt, Sqrt
from tinygen.ir.ops.unary import Abs, Bent, Clamp, Gelu, LeakyRelu, Logistic, Sigmoidal, Tanh, Unary
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _bent(node: Node) -> KernelPlan | None:
    """Rescaled by a factor for each sign, and clamped."""
    op = node.op
    if node.output.dtype != np.int16 or not isinstance(op, Bent):
        return None
    slopes = op.slopes(node)
    above, below = (list(quantize_multiplier(abs(slope))) for slope in slopes)
    low, high = op.bounds(node)
    return KernelPlan(
        template="elementwise/bent_s16.c.j2",
        stem=f"{op.KIND}_s16",
        context={
            "size": node.output.size,
            "folded": op.FOLDED,
            "above": above,
            "below": below,
            "turned": slopes[1] < 0,
            "low": low,
            "high": high,
        },
        inplace=((0, 0),),
        cycles=25.0 * node.output.size,
    )


def _interpolated(node: Node) -> KernelPlan | None:
    """Two entries of a table and a straight line between them."""
    op = node.op
    if node.output.dtype != np.int16 or not isinstance(op, Unary):
        return None
    return KernelPlan(
        template="elementwise/interpolated_s16.c.j2",
        stem="interpolated_s16",
        context={"size": node.output.size},
        constants=(Constant("table", op.samples(node), f"{op.KIND} of every 128th code, from the lowest"),),
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_interpolated.h"),
        cycles=14.0 * node.output.size,
    )


@kernel(Logistic, name="logistic_s16")
@kernel(Tanh, name="tanh_s16")
def sigmoidal(node: Node) -> KernelPlan | None:
    """Interpolated in the table of sigmoids of positive numbers."""
    op = node.op
    if node.output.dtype != np.int16 or not isinstance(op, Sigmoidal):
        return None
    scaling = op.scaling(node)
    return KernelPlan(
        template="elementwise/sigmoid_s16.c.j2",
        stem=f"{op.KIND}_s16",
        context={
            "size": node.output.size,
            "tanh": isinstance(op, Tanh),
            "multiplier": scaling.multiplier,
            "half": scaling.half,
            "shift": scaling.shift,
        },
        constants=(Constant("table", sigmoid_16.table(), "sigmoid(i / 24) with 16 fractional bits"),),
        inplace=((0, 0),),
        cycles=22.0 * node.output.size,
    )


@kernel(Sqrt, name="sqrt_s16")
def root(node: Node) -> KernelPlan | None:
    """In single precision, as LiteRT computes it: every code's root is that of its float."""
    if node.output.dtype != np.int16:
        return None
    return KernelPlan(
        template="elementwise/sqrt_s16.c.j2",
        stem="sqrt_s16",
        context={"size": node.output.size, "input_scale": node.input(0).scale, "output_scale": node.output.scale},
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_elementary.h"),
        cycles=45.0 * node.output.size,
    )


for _op in (Abs, Clamp, LeakyRelu):
    kernel(_op, name=f"{_op.KIND}_s16")(_bent)
for _other in (Exp, Gelu, Log, Rsqrt):
    kernel(_other, name=f"{_other.KIND}_s16")(_interpolated)
