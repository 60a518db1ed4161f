"""Kernels of ADD, SUB, MUL, MAXIMUM and MINIMUM."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add, Arithmetic, Maximum, Minimum, Mul, Sub, is_unscaled
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import KernelPlan, kernel

_SYMBOLS = {"add": "+", "sub": "-", "mul": "*"}


def _plan(node: Node) -> KernelPlan:
    kind = node.op.KIND
    shape = node.output.shape
    strides = [broadcast_strides(node.input(i).shape, len(shape)) for i in (0, 1)]
    nest = make_nest(shape, strides, (0, 0))
    symbol = _SYMBOLS.get(kind, "")
    return KernelPlan(
        template="elementwise/binary.c.j2",
        stem=f"{kind}_{node.output.dtype.name}",
        context={
            **nest.context(),
            "kind": kind,
            "symbol": symbol,
            "formula": f"a {symbol} b" if symbol else f"{kind}(a, b)",
            "type": ctype(node.output.dtype),
            "real": node.output.is_float,
            **_arithmetic(node),
        },
        operands=(("first", 0), ("second", 1)),
        # By size, not shape: an operand of as many elements is walked in the output's order.
        inplace=tuple((i, 0) for i in (0, 1) if node.input(i).size == node.output.size),
        cycles=(8.0 if is_unscaled(node) else 40.0) * node.output.size,
    )


def _arithmetic(node: Node) -> dict[str, Any]:
    """Scales and clamps of the integer forms, clamps of the float forms."""
    op = node.op
    if not isinstance(op, Arithmetic):
        return {}
    if is_unscaled(node):
        return _own(op, node)
    low, high = quantized_activation_range(op.activation, node.output)
    context: dict[str, Any] = {
        "zeros": [node.input(0).zero_point, node.input(1).zero_point],
        "output_zero": node.output.zero_point,
        "low": low,
        "high": high,
    }
    if isinstance(op, Add):
        shifts = op.shifts(node)
        if shifts is not None:
            return context | {"right_shifts": list(shifts)}
        scales = op.scales(node)
        return context | {
            "left_shift": scales.left_shift,
            "first_scale": list(scales.first),
            "second_scale": list(scales.second),
            "output_scale": list(scales.output),
        }
    assert isinstance(op, Mul)
    multiplier, shift = op.scale(node)
    return context | {"multiplier": multiplier, "shift": shift}


def _own(op: Arithmetic, node: Node) -> dict[str, Any]:
    """Types and clamps of what has no scale."""
    low, high = op.own_range(node)
    if node.output.is_float:
        return {"low": None if math.isinf(low) else low, "high": None if math.isinf(high) else high}
    info, bits = np.iinfo(node.output.dtype), 8 * node.output.dtype.itemsize
    return {
        "bits": bits,
        "low": low if low > info.min else None,
        "high": high if high < info.max else None,
    }


for _op in (Add, Sub, Mul, Maximum, Minimum):
    kernel(_op, name=_op.KIND)(_plan)
