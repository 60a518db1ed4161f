"""Kernels of PRELU: the reference, and for int8 codes a product and one rounding, with a factor for each sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.fixed_point import multiply_by_quantized_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.prelu import Prelu
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_LARGEST = 2**30
_LEAST_SHIFT, _MOST_SHIFT = 3, 22
_CODES = np.arange(-128, 128, dtype=np.int64)


@kernel(Prelu, name="prelu")
def prelu(node: Node) -> KernelPlan | None:
    """Element by element, alpha broadcast."""
    op, shape = node.op, node.output.shape
    assert isinstance(op, Prelu)
    strides = [broadcast_strides(node.input(i).shape, len(shape)) for i in (0, 1)]
    context: dict[str, Any] = {**make_nest(shape, strides, (0, 0)).context(), "real": node.output.is_float}
    if not node.output.is_float:
        positive, negative = op.scales(node)
        low, high = node.output.code_range
        context |= {
            "type": ctype(node.output.dtype),
            "low": low,
            "high": high,
            "zeros": [node.input(0).zero_point, node.input(1).zero_point],
            "output_zero": node.output.zero_point,
            "positive": list(positive),
            "negative": list(negative),
        }
    return KernelPlan(
        template="elementwise/prelu.c.j2",
        stem=f"prelu_{node.output.dtype.name}",
        context=context,
        operands=(("first", 0), ("second", 1)),
        inplace=tuple((i, 0) for i in (0, 1) if node.input(i).size == node.output.size),
        cycles=25.0 * node.output.size,
    )


@kernel(Prelu, name="prelu_s8", family="tinygen")
def prelu_s8(node: Node) -> KernelPlan | None:
    """For a constant alpha."""
    if node.output.dtype != np.int8 or not node.input(1).is_constant:
        return None
    alpha = node.constant(1)
    found, inverse = np.unique(alpha, return_inverse=True)
    fitted = _fit(node, found)
    if fitted is None:
        return None
    shift, offset, slopes = fitted
    shape = node.output.shape
    strides = [broadcast_strides(one.shape, len(shape)) for one in (node.input(0), node.input(1))]
    bends = (slopes[1:] - slopes[0]).astype(np.int32)
    one = bends[0] if len(bends) == 1 else None
    constants = (
        () if one is not None else (Constant("bends", bends[inverse].reshape(-1), "less the factor above zero"),)
    )
    return KernelPlan(
        template="elementwise/prelu_s8.c.j2",
        stem="prelu_s8",
        context={
            **make_nest(shape, strides, (0, 0)).context(),
            "zero": node.input(0).zero_point,
            "above": int(slopes[0]),
            "bend": None if one is None else int(one),
            "offset": offset,
            "shift": shift,
        },
        constants=constants,
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=8.0 * node.output.size,
    )


def _fit(node: Node, alpha: np.ndarray) -> tuple[int, int, np.ndarray] | None:
    """(shift, offset, factors): code = saturate((x * factor + offset) >> shift).

    The first factor is that of x >= 0, the others are those of x < 0 for each alpha; None where a code is missed.
    """
    op = node.op
    assert isinstance(op, Prelu)
    x, zero = _CODES - node.input(0).zero_point, node.output.zero_point
    positive, negative = op.scales(node)
    centred = alpha.astype(np.int64) - node.input(1).zero_point
    above = multiply_by_quantized_multiplier(x[x >= 0], *positive)[None, :] + zero
    below = multiply_by_quantized_multiplier(x[None, x < 0] * centred[:, None], *negative) + zero
    real = np.array([op.real_scales(node)[0], *(op.real_scales(node)[1] * centred)])
    largest = max(float(np.abs(real).max()), 2.0**-8)
    most = min(int(np.floor(np.log2(_LARGEST / 256 / largest))), _MOST_SHIFT)
    for shift in range(most, max(most - 3, _LEAST_SHIFT - 1), -1):
        # Halves go away from zero: a factor that is a little larger does that for one code, an offset for all.
        for less in (0, 1):
            offset = (1 << (shift - 1)) + (zero << shift) - less
            slopes = np.round(real * 2.0**shift).astype(np.int64)
            ends = (_bounds(x[x >= 0], above, offset, shift), _bounds(x[x < 0], below, offset, shift))
            least, highest = (np.concatenate([side[i] for side in ends]) for i in (0, 1))
            if np.all(least <= highest):
                return shift, offset, np.clip(slopes, least, highest)
    return None


def _bounds(x: np.ndarray, codes: np.ndarray, offset: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest factor with which all x get their codes [factors, x]; least > largest where none does.

    What saturates is bounded from one side only.
    """
    far = np.int64(_LARGEST // 256)
    least, most = np.full(len(codes), -far), np.full(len(codes), far)
    if not len(x):
        return least, most
    bottom = np.where(codes > -128, (codes << shift) - offset, -(2**40))
    top = np.where(codes < 127, ((codes + 1) << shift) - offset - 1, 2**40)
    for sign in (1, -1):
        some, size = np.sign(x) == sign, np.abs(x[np.sign(x) == sign])
        if not np.any(some):
            continue
        # bottom <= sign * size * factor <= top
        low, high = (bottom, top) if sign > 0 else (-top, -bottom)
        least = np.maximum(least, (-(-low[:, some] // size)).max(axis=1))
        most = np.minimum(most, (high[:, some] // size).min(axis=1))
    origin = x == 0
    if np.any(origin):
        wrong = (bottom[:, origin] > 0).any(axis=1) | (top[:, origin] < 0).any(axis=1)
        least = np.where(wrong, most + 1, least)
    return least, most
