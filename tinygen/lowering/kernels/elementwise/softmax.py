"""Kernels of SOFTMAX and LOG_SOFTMAX."""

from __future__ import annotations

import numpy as np

from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.softmax import LogSoftmax, Softmax, halves_of_exp, halves_of_reciprocal
from tinygen.lowering.plan import Constant, KernelPlan, kernel

# Cycles of the ESP32-C3's core: of an element, of a row.
_ELEMENT, _ROW = 44.0, 150.0
_SHORT = 64
"""Elements of a row whose loops compilers are not to write out."""


@kernel(Softmax, name="softmax_s8")
def softmax_s8(node: Node) -> KernelPlan | None:
    """A table of exponentials, one reciprocal per row."""
    return _of_codes(node, "softmax_s8", 75.0, 170.0, ("tinygen_math.h",))


@kernel(Softmax, name="softmax_s8_shares", family="tinygen")
def softmax_s8_shares(node: Node) -> KernelPlan | None:
    """The same, without branches on signs and roundings that cannot occur."""
    return _of_codes(node, "softmax_s8_shares", _ELEMENT, _ROW, ("tinygen_math.h", "tinygen_simd.h"))


def _of_codes(node: Node, template: str, element: float, row: float, headers: tuple[str, ...]) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, Softmax)
    halves = node.output.dtype == np.int16
    if node.input(0).dtype != np.int8 or (halves and template != "softmax_s8"):
        return None
    depth = node.output.shape[-1]
    table = op.exponentials(node).astype(np.int32)
    rows = node.output.size // depth
    return KernelPlan(
        template=f"elementwise/{template}.c.j2",
        stem=template,
        context={"rows": rows, "depth": depth, "known": len(table), "short": depth <= _SHORT, "halves": halves},
        constants=(Constant("exponentials", table, "exp(-beta * scale * d) with 31 fractional bits"),),
        inplace=() if halves else ((0, 0),),
        headers=headers,
        cycles=element * node.output.size + row * rows,
    )


@kernel(Softmax, name="softmax_s16")
def softmax_s16(node: Node) -> KernelPlan | None:
    """Exponentials and the reciprocal of their sum by interpolation."""
    op = node.op
    assert isinstance(op, Softmax)
    if node.input(0).dtype != np.int16:
        return None
    depth = node.output.shape[-1]
    multiplier, shift = quantize_multiplier(op.real_scale(node))
    return KernelPlan(
        template="elementwise/softmax_s16.c.j2",
        stem="softmax_s16",
        context={
            "rows": node.output.size // depth,
            "depth": depth,
            "multiplier": multiplier,
            "shift": shift,
        },
        constants=(
            Constant("exponentials", halves_of_exp(), "exp(x) from x = -10 to 0, with 15 fractional bits"),
            Constant("reciprocals", halves_of_reciprocal(), "1 / (1 + x) from x = 0 to 1, with 15 fractional bits"),
        ),
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_interpolated.h"),
        cycles=60.0 * node.output.size,
    )


@kernel(LogSoftmax, name="log_softmax_s8")
def log_softmax_s8(node: Node) -> KernelPlan | None:
    """A table of exponentials, one logarithm per row."""
    op = node.op
    assert isinstance(op, LogSoftmax)
    if node.output.is_float:
        return None
    depth = node.output.shape[-1]
    table = op.exponentials(node).astype(np.int32)
    multiplier, shift, reach = op.scaling(node)
    return KernelPlan(
        template="elementwise/log_softmax_s8.c.j2",
        stem="log_softmax_s8",
        context={
            "rows": node.output.size // depth,
            "depth": depth,
            "known": len(table),
            "multiplier": multiplier,
            "shift": shift,
            "reach": reach,
            "back": list(op.back(node)),
        },
        constants=(Constant("exponentials", table, "exp(-scale * d) with 31 fractional bits"),),
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_logarithm.h"),
        cycles=45.0 * node.output.size + 300.0 * (node.output.size // depth),
    )


@kernel(Softmax, name="softmax_f32")
@kernel(LogSoftmax, name="log_softmax_f32")
def softmax_f32(node: Node) -> KernelPlan | None:
    """Plain, in single precision."""
    op = node.op
    assert isinstance(op, Softmax | LogSoftmax)
    if not node.output.is_float:
        return None
    depth, logarithm = node.output.shape[-1], isinstance(op, LogSoftmax)
    headers = ("tinygen_math.h", "tinygen_float.h")
    return KernelPlan(
        template="elementwise/softmax_f32.c.j2",
        stem=f"{op.KIND}_f32",
        context={"rows": node.output.size // depth, "depth": depth, "beta": op.factor, "logarithm": logarithm},
        inplace=((0, 0),),
        headers=(*headers, "tinygen_elementary.h") if logarithm else headers,
        cycles=60.0 * node.output.size,
    )
