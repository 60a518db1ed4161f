"""Kernels of RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.resize import ResizeBilinear, ResizeNearestNeighbor
from tinygen.lowering.ctypes import ctype
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
        template="movement/nearest.c.j2",
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
        template="movement/bilinear.c.j2",
        stem=f"resize_bilinear_{node.output.dtype.name}",
        context={
            **sizes,
            "real": real,
            "halves": node.output.dtype == np.int16,
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
        cycles=(15.0 if real else 12.5 if node.output.dtype == np.int8 else 25.0) * node.output.size,
    )
