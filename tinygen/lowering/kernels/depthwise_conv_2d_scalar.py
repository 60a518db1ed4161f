"""Tuned kernel of DEPTHWISE_CONV_2D for cores without SIMD: one channel after the other, its weights in registers.

Predicted cycles are those of the ESP32-C3's core.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.kernels.support import scalar
from tinygen.lowering.kernels.support.requantize import epilogue
from tinygen.lowering.kernels.support.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_IN_REGISTERS = 12
"""Weights of a channel that stay in registers."""
_LONGEST = 32
"""Taps that are written out one by one."""
_REACH = 2047
"""The largest constant offset of a load."""

# Cycles: a tap whose code is loaded for one window and its weight known, whose code is there, of which both are loaded;
# an output; a code copied; a channel; a column.
_TAP, _ROLLED_TAP, _LOADED_TAP, _OUTPUT, _COPIED, _CHANNEL, _COLUMN = 4.2, 2.1, 6.2, 15.0, 5.0, 30.0, 30.0


@kernel(DepthwiseConv2D, name="depthwise_conv_2d_s8_scalar", family="tinygen", isa="scalar")
def depthwise_conv_2d_s8_scalar(node: Node) -> KernelPlan | None:
    """Padded channels are copied one by one; small windows roll down the columns."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    if node.output.dtype != np.int8 or not node.input(1).is_constant or op.multiplier(node) > 1:
        return None
    rows, columns = geometry = op.geometry(node)
    ending = epilogue(node, axis=3)
    channels = node.output.shape[3]
    copies = rows.padded or columns.padded
    plane_h, plane_w = (_reach(axis) if copies else axis.input for axis in geometry)
    pixel_step = 1 if copies else channels
    row_step, tap_step = rows.dilation * plane_w * pixel_step, columns.dilation * pixel_step
    unroll = _unrolled(rows.kernel, columns.kernel, row_step, tap_step)
    if ending is None or unroll == 0:
        return None
    walk = _walk(rows, columns)
    weights = node.constant(1)[0].transpose(2, 0, 1).reshape(-1)
    return KernelPlan(
        template="depthwise_conv_2d/depthwise_conv_2d_s8_scalar.c.j2",
        stem=window_stem("depthwise_conv_2d_s8_scalar", geometry),
        context={
            **window_context(node, geometry),
            **ending.context,
            "input_zero": node.input(0).zero_point if copies else 0,
            "copies": copies,
            "plane_h": plane_h,
            "plane_w": plane_w,
            "copied_h": min(rows.input, plane_h - rows.before),
            "copied_w": min(columns.input, plane_w - columns.before),
            "pixel_step": pixel_step,
            "row_step": row_step,
            "tap_step": tap_step,
            "walk": walk,
            "unroll": unroll,
        },
        constants=(
            Constant("weights", weights, f"[C, KH, KW] [{channels}, {rows.kernel}, {columns.kernel}]"),
            ending.constant(),
        ),
        scratch_bytes=plane_h * plane_w if copies else 0,
        inplace=((0, 0),) if copies and node.input(0).shape == node.output.shape else (),
        headers=scalar.HEADERS,
        cycles=node.output.shape[0] * channels * _cycles(rows, columns, walk, copies=copies),
    )


def _reach(axis: Axis) -> int:
    """Codes from the first that a window touches to the last, the border included."""
    return (axis.output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1


def _unrolled(rows: int, columns: int, row_step: int, tap_step: int) -> int:
    """Rows of a window that are written out, as far as constant offsets reach; 0 if not even one row can be."""
    reach = (_REACH - (columns - 1) * tap_step) // row_step + 1
    return max(min(rows, _LONGEST // columns, reach), 0)


def _walk(rows: Axis, columns: Axis) -> str:
    """How a channel's windows are gone through."""
    if rows.kernel * columns.kernel > _IN_REGISTERS:
        return "loop"
    return "rolling" if rows.stride == rows.dilation == 1 and rows.output > 1 else "whole"


def _cycles(rows: Axis, columns: Axis, walk: str, *, copies: bool) -> float:
    """Of one channel."""
    taps, outputs = rows.kernel * columns.kernel, rows.output * columns.output
    copied = _COPIED * rows.input * columns.input if copies else 0.0
    if walk == "rolling":
        loads = 2 * columns.kernel * (rows.output + rows.kernel - 1) * columns.output
        body = loads + outputs * (taps * _ROLLED_TAP + _OUTPUT) + columns.output * (_COLUMN + taps * _ROLLED_TAP)
    else:
        body = outputs * (taps * (_TAP if walk == "whole" else _LOADED_TAP) + _OUTPUT)
    return copied + body + _CHANNEL
