"""Kernels of RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.resize import FRACTION_BITS, ResizeBilinear, ResizeNearestNeighbor
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


Neighbours = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Lower index, upper index, weight of the upper; see `ResizeBilinear.neighbours`."""
_EXACT_BITS = 16
"""Of two weights together: what single precision has beyond a code's eight."""


def neighbours_of(node: Node) -> tuple[Neighbours, Neighbours]:
    """Those of rows and of columns. Weights are integers where codes are, but for codes of uint8 whose means single
    precision rounds."""
    op, (_, in_h, in_w, _), (_, out_h, out_w, _) = node.op, node.input(0).shape, node.output.shape
    assert isinstance(op, ResizeBilinear)
    real = op.in_float(node)
    rows, columns = op.neighbours(in_h, out_h, real), op.neighbours(in_w, out_w, real)
    if not op.unsigned:
        return rows, columns
    scaled = [found[2].astype(np.float64) * (1 << FRACTION_BITS) for found in (rows, columns)]
    short = [weights.astype(np.int64) for weights in scaled if not np.any(weights % 1)]
    if len(short) < 2 or sum(map(fraction_bits, short)) > _EXACT_BITS:
        return rows, columns
    return _in_integers(rows, short[0]), _in_integers(columns, short[1])


def _in_integers(found: Neighbours, weights: np.ndarray) -> Neighbours:
    """With other weights. Beyond the border both neighbours are one code, whatever they weigh."""
    lower, upper, _ = found
    return lower, upper, np.where(lower == upper, 0, weights)


def fraction_bits(weights: np.ndarray) -> int:
    """Fractional bits that weights over 2**FRACTION_BITS have."""
    together = int(np.bitwise_or.reduce(weights)) | (1 << FRACTION_BITS)
    return FRACTION_BITS - ((together & -together).bit_length() - 1)


@kernel(ResizeBilinear, name="resize_bilinear")
def bilinear(node: Node) -> KernelPlan | None:
    """Four neighbours per element; row and column tables."""
    op = node.op
    assert isinstance(op, ResizeBilinear)
    sizes = _sizes(node)
    rows, columns = neighbours_of(node)
    (top, bottom, down), (left, right, across) = rows, columns
    real = down.dtype == np.float32
    weights = np.float32 if real else np.int16
    return KernelPlan(
        template="movement/bilinear.c.j2",
        stem=f"resize_bilinear_{node.output.dtype.name}",
        context={
            **sizes,
            "real": real,
            "halves": node.output.dtype == np.int16,
            "unsigned": op.unsigned,
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
        headers=("tinygen_math.h", "tinygen_simd.h", *(("tinygen_float.h",) if op.unsigned else ())),
        cycles=_cycles(node, real) * node.output.size,
    )


def _cycles(node: Node, real: bool) -> float:
    """Of an element."""
    op = node.op
    assert isinstance(op, ResizeBilinear)
    if real:
        return 60.0 if op.unsigned else 15.0
    return 25.0 if node.output.dtype == np.int16 else 12.5
