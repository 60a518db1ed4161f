"""Resizing, and PRELU."""

from __future__ import annotations

from typing import Any

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.prelu import Prelu
from tinygen.ir.ops.resize import Resize, ResizeBilinear, ResizeNearestNeighbor


def _resize(operator: Operator, table: Any, kind: type[Resize], **more: Any) -> Op:
    options = operator.options(table)
    size = [int(v) for v in operator.constant(1, "size").reshape(-1)]
    operator.require(len(size) == 2, f"size {size}")
    return kind(
        **operator.common(keep_inputs=1),
        size=(size[0], size[1]),
        align_corners=bool(options.AlignCorners()),
        half_pixel_centers=bool(options.HalfPixelCenters()),
        **more,
    )


@converts(tflite.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR)
def resize_nearest_neighbor(operator: Operator) -> Op:
    return _resize(operator, tflite.ResizeNearestNeighborOptions, ResizeNearestNeighbor)


@converts(tflite.BuiltinOperator.RESIZE_BILINEAR)
def resize_bilinear(operator: Operator) -> Op:
    unsigned = operator.kind(operator.outputs[0]) == "uint8"
    return _resize(operator, tflite.ResizeBilinearOptions, ResizeBilinear, unsigned=unsigned)


@converts(tflite.BuiltinOperator.PRELU)
def prelu(operator: Operator) -> Op:
    return Prelu(**operator.common())
