"""Tuned kernels of ADD, SUB and MUL on int16 codes: TFLite's roundings, without branches.

Operands of 16 bits have too many pairs to check one rounding for all. But scales are constants, one operand of a sum is
only halved, and what is rounded is below 2^30, where `tg_round_twice` is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add, Mul, Sub
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import KernelPlan, kernel

_LARGEST = 2**30
_MOST_SHIFT = 30
_HALF = (2**30, 0)


def _scale(scale: tuple[int, int]) -> dict[str, Any] | None:
    """Template values; None of scales that shift to the left, or so far that half of 2^shift does not fit."""
    multiplier, shift = scale
    return {"multiplier": multiplier, "shift": -shift} if 0 <= -shift <= _MOST_SHIFT else None


@kernel(Add, name="add_s16", family="tinygen")
@kernel(Sub, name="sub_s16", family="tinygen")
def sum_s16(node: Node) -> KernelPlan | None:
    """Both operands scaled, and their sum."""
    op = node.op
    assert isinstance(op, Add)
    if node.output.dtype != np.int16 or op.shifts(node) is not None:
        return None
    scales = op.scales(node)
    found = [_scale(one) for one in (scales.first, scales.second, scales.output)]
    if None in found:
        return None
    halves = [{"halves": scale == _HALF} for scale in (scales.first, scales.second)]
    terms = [(one or {}) | half for one, half in zip(found, halves, strict=False)]
    return _plan(node, {"terms": terms, "scale": found[2], "sign": "+" if node.op.KIND == "add" else "-"}, 14.0)


@kernel(Mul, name="mul_s16", family="tinygen")
def mul_s16(node: Node) -> KernelPlan | None:
    """The product, which is 2^30 for the two lowest codes alone: then one less gives the same code."""
    op = node.op
    assert isinstance(op, Mul)
    if node.output.dtype != np.int16:
        return None
    scale = _scale(op.scale(node))
    ends = multiply_by_quantized_multiplier(np.array([_LARGEST - 1, _LARGEST]), *op.scale(node))
    bounds = quantized_activation_range(op.activation, node.output)
    if scale is None or len(set(np.clip(ends, *bounds).tolist())) > 1:
        return None
    return _plan(node, {"scale": scale, "sign": "*", "most": _LARGEST - 1}, 12.0)


def _plan(node: Node, context: dict[str, Any], cycles: float) -> KernelPlan:
    op, shape = node.op, node.output.shape
    assert isinstance(op, Add | Mul)
    low, high = quantized_activation_range(op.activation, node.output)
    strides = [broadcast_strides(node.input(i).shape, len(shape)) for i in (0, 1)]
    return KernelPlan(
        template="elementwise/binary_s16.c.j2",
        stem=f"{op.KIND}_s16",
        context={**make_nest(shape, strides, (0, 0)).context(), "low": low, "high": high, **context},
        operands=(("first", 0), ("second", 1)),
        # By size, not shape: an operand of as many elements is walked in the output's order.
        inplace=tuple((i, 0) for i in (0, 1) if node.input(i).size == node.output.size),
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=cycles * node.output.size,
    )
