"""Kernels of RESIZE_NEAREST_NEIGHBOR, RESIZE_BILINEAR and PRELU."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.prelu import Prelu
from tinygen.ir.ops.resize import ResizeBilinear, ResizeNearestNeighbor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _sizes(node: Node) -> dict[str, Any]:
    batch, in_h, in_w, channels = node.input(0).shape
    _, out_h, out_w, _ = node.output.shape
    return {"batch": batch, "in_h": in_h, "in_w": in_w, "channels": channels, "out_h": out_h, "out_w": out_w}


@kernel(ResizeNearestNeighbor, name="resize_nearest_neighbor", moves=True)
def nearest(node: Node) -> KernelPlan | None:
    """Copies pixels; row and column tables."""
    op = node.op
    assert isinstance(op, ResizeNearestNeighbor)
    sizes = _sizes(node)
    return KernelPlan(
        template="resize/nearest.c.j2",
        stem=f"resize_nearest_{node.output.dtype.name}",
        context=sizes,
        constants=(
            Constant("rows", op.indices(sizes["in_h"], sizes["out_h"]).astype(np.int16)),
            Constant("columns", op.indices(sizes["in_w"], sizes["out_w"]).astype(np.int16)),
        ),
        cycles=3.0 * node.output.size,
    )


@kernel(ResizeBilinear, name="resize_bilinear")
def bilinear(node: Node) -> KernelPlan | None:
    """Four neighbours per element; row and column tables."""
    op = node.op
    assert isinstance(op, ResizeBilinear)
    sizes, real = _sizes(node), node.output.is_float
    top, bottom, down = op.neighbours(sizes["in_h"], sizes["out_h"], real)
    left, right, across = op.neighbours(sizes["in_w"], sizes["out_w"], real)
    weights = np.float32 if real else np.int16
    return KernelPlan(
        template="resize/bilinear.c.j2",
        stem=f"resize_bilinear_{node.output.dtype.name}",
        context={
            **sizes,
            "real": real,
            "type": ctype(node.output.dtype),
            "weight": "float" if real else "int32_t",
            "one": "1.0f" if real else "1024",
        },
        constants=(
            Constant("rows", np.stack([top, bottom], 1).reshape(-1).astype(np.int16), "lower, upper"),
            Constant("columns", np.stack([left, right], 1).reshape(-1).astype(np.int16), "lower, upper"),
            Constant("down", down.astype(weights)),
            Constant("across", across.astype(weights)),
        ),
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=(15.0 if real else 12.5) * node.output.size,
    )


@kernel(Prelu, name="prelu")
def prelu(node: Node) -> KernelPlan | None:
    """Element by element, alpha broadcast."""
    op, shape = node.op, node.output.shape
    assert isinstance(op, Prelu)
    strides = [broadcast_strides(node.input(i).shape, len(shape)) for i in (0, 1)]
    context: dict[str, Any] = {**make_nest(shape, strides, (0, 0)).context(), "real": node.output.is_float}
    if not node.output.is_float:
        positive, negative = op.scales(node)
        context |= {
            "zeros": [node.input(0).zero_point, node.input(1).zero_point],
            "output_zero": node.output.zero_point,
            "positive": list(positive),
            "negative": list(negative),
        }
    return KernelPlan(
        template="prelu/prelu.c.j2",
        stem=f"prelu_{node.output.dtype.name}",
        context=context,
        operands=(("first", 0), ("second", 1)),
        inplace=tuple((i, 0) for i in (0, 1) if node.input(i).size == node.output.size),
        cycles=25.0 * node.output.size,
    )
