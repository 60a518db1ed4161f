"""Tuned kernels of ADD, SUB and MUL on int8 codes: one rounding instead of two or three, four codes a store."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add, Mul, Sub
from tinygen.lowering.kernels.support.epilogues.staircase import Staircase, fit
from tinygen.lowering.kernels.support.epilogues.sums import fit_sum
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_MOST_SHIFT = 22
"""What is added is below 2^8 times 2^22, the product at most 2^16: both fit 32 bits."""


@kernel(Add, name="add_s8", family="tinygen")
@kernel(Sub, name="sub_s8", family="tinygen")
def sum_s8(node: Node) -> KernelPlan | None:
    """One linear form of both codes, proven for all pairs."""
    linear = fit_sum(node) if node.output.dtype == np.int8 else None
    if linear is None:
        return None
    return _plan(node, {"form": linear.context(), "sign": "+" if node.op.KIND == "add" else "-"}, linear.constants())


@kernel(Mul, name="mul_s8", family="tinygen")
def mul_s8(node: Node) -> KernelPlan | None:
    """The product of both codes, rescaled without a branch: rounded once where that gives the same codes, or twice."""
    if not all(tensor.dtype == np.int8 for tensor in (node.input(0), node.input(1), node.output)):
        return None
    op = node.op
    assert isinstance(op, Mul)
    zeros = node.input(0).zero_point, node.input(1).zero_point
    bounds = quantized_activation_range(op.activation, node.output)
    fitted = _fit_product(op.scale(node), op.real_scale(node), zeros, node.output.zero_point, bounds)
    if fitted is None:
        return None
    return _plan(node, {"product": fitted | {"zeros": zeros, "low": bounds[0], "high": bounds[1]}})


@lru_cache(maxsize=256)
def _fit_product(
    scale: tuple[int, int], real: float, zeros: tuple[int, int], output_zero: int, bounds: tuple[int, int]
) -> dict[str, Any] | None:
    """Template values of the product's scaling, in the forms of `support.requantize`; None where neither fits."""

    def codes(products: np.ndarray) -> np.ndarray:
        return np.clip(multiply_by_quantized_multiplier(products, *scale) + output_zero, *bounds)

    ends = [[end - zero for end in (-128, 127)] for zero in zeros]
    products = [a * b for a in ends[0] for b in ends[1]]
    least, most = np.array([min(products)], np.int64), np.array([max(products)], np.int64)
    found = fit(Staircase(codes, np.array([real]), least, most, *bounds, 1))
    if found is not None:
        values = {name: int(getattr(found, name)[0]) for name in ("multiplier", "offset", "moved")}
        return values | {"form": "fused", "shift": found.shift}
    shift = -scale[1]
    if not 0 < shift <= _MOST_SHIFT:
        return None
    offset = (1 << (shift - 1)) + (output_zero << shift)
    return {"form": "stepwise", "multiplier": scale[0], "offset": offset, "moved": 0, "shift": shift}


def _plan(node: Node, context: dict[str, Any], constants: tuple[Constant, ...] = ()) -> KernelPlan:
    shape = node.output.shape
    strides = [broadcast_strides(node.input(i).shape, len(shape)) for i in (0, 1)]
    return KernelPlan(
        template="elementwise/binary_tuned.c.j2",
        stem=f"{node.op.KIND}_s8",
        context={**make_nest(shape, strides, (0, 0)).context(), **context},
        operands=(("first", 0), ("second", 1)),
        constants=constants,
        # By size, not shape: an operand of as many elements is walked in the output's order.
        inplace=tuple((i, 0) for i in (0, 1) if node.input(i).size == node.output.size),
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=10.0 * node.output.size,
    )
