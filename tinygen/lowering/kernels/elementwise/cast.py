"""CAST: element by element."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.cast import Cast
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Cast, name="cast")
def cast(node: Node) -> KernelPlan | None:
    """Between any two types; what a float may be beyond is tested before it is converted."""
    x, output = node.input(0), node.output
    kind = ctype(output.dtype)
    context = {"size": x.size, "type": kind, "way": "bool" if output.dtype == np.bool_ else "plain"}
    if x.is_float and output.dtype.kind in "iu":
        info = np.iinfo(output.dtype)
        bits = 8 * output.dtype.itemsize
        context |= {
            "way": "float",
            # Exact in single precision, unlike the largest integers of 32 and 64 bits.
            "beyond": float_literal(float(info.max) + (bits < 64)),
            "below": float_literal(float(info.min)),
            "high": f"{'U' if info.min == 0 else ''}INT{bits}_MAX",
            "low": "0" if info.min == 0 else f"INT{bits}_MIN",
        }
    return KernelPlan(
        template="elementwise/cast.c.j2",
        stem=f"cast_{x.dtype.name}_{output.dtype.name}",
        context=context,
        inplace=((0, 0),) if x.dtype == output.dtype else (),
        cycles=(12.0 if x.is_float else 4.0) * x.size,
    )
