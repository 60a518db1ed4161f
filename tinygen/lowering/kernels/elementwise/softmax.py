"""Kernels of SOFTMAX."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.softmax import Softmax
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
    if node.output.is_float:
        return None
    depth = node.output.shape[-1]
    table = op.exponentials(node).astype(np.int32)
    rows = node.output.size // depth
    return KernelPlan(
        template=f"elementwise/{template}.c.j2",
        stem=template,
        context={"rows": rows, "depth": depth, "known": len(table), "short": depth <= _SHORT},
        constants=(Constant("exponentials", table, "exp(-beta * scale * d) with 31 fractional bits"),),
        inplace=((0, 0),),
        headers=headers,
        cycles=element * node.output.size + row * rows,
    )


@kernel(Softmax, name="softmax_f32")
def softmax_f32(node: Node) -> KernelPlan | None:
    """Plain, in single precision."""
    op = node.op
    assert isinstance(op, Softmax)
    if not node.output.is_float:
        return None
    depth = node.output.shape[-1]
    return KernelPlan(
        template="elementwise/softmax_f32.c.j2",
        stem="softmax_f32",
        context={"rows": node.output.size // depth, "depth": depth, "beta": op.beta},
        inplace=((0, 0),),
        headers=("tinygen_math.h", "tinygen_float.h"),
        cycles=60.0 * node.output.size,
    )
