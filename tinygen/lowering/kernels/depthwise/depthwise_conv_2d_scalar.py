"""Tuned kernels of depthwise convolutions for cores without SIMD: channel by channel, its weights in registers.

Predicted cycles are those of the ESP32-C3's core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.encodings import WORD_BITS
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import pixel_elements, smallest_integers
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.high_word import LONG_FORMS, high_word_epilogue
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.epilogues.staircase import Staircase
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.loops.scalar import Copy
from tinygen.lowering.kernels.support.loops.sixteen_bits import also_16x8
from tinygen.lowering.kernels.support.loops.unpacked import all_unpacked
from tinygen.lowering.plan import ON_ARMV6M, Constant, KernelPlan, kernel

_IN_REGISTERS = 12
"""Weights of a channel that stay in registers."""
_LONGEST = 32
"""Taps that are written out one by one."""
_REACH = 2047
"""The largest constant offset of a load."""

# Cycles: a tap whose code is loaded for one window and its weight known, whose code is there, of which both are loaded;
# an output; a code copied, one of a word; a channel; a column.
_TAP, _ROLLED_TAP, _LOADED_TAP, _OUTPUT, _COPIED, _BIT, _CHANNEL, _COLUMN = 4.2, 2.1, 6.2, 15.0, 5.0, 8.0, 30.0, 30.0
_STORED = 6.0
"""Cycles of an output more, whose code goes into a word."""

LONG_PRODUCTS = {
    "fused": 36.0,
    "high_word": 38.0,
    "stepwise": 60.0,
    "mixed": 60.0,
    "plain": 60.0,
    "rescale": 62.0,
    "rescale_high": 62.0,
}
_OTHERS, _LOOP_ON_ARMV6M = 12.0, 1.3
"""Cycles that the epilogue's form adds to an output on a Cortex-M0+. What windows with many weights take there of the
cycles that are predicted; others take `ON_ARMV6M`.
"""


@dataclass(frozen=True, eq=False)
class Job:
    """A layer whose filters have one kernel each.

    Attributes:
        geometry: of the window.
        multiplier: filters per channel of the input.
        ending: the epilogue that finishes sums.
        weights: int8 or int16 [O, KH, KW].
        context: template values of how codes are read and written.
        copy: how codes are copied to scratch.
        staircase: of its codes, if they only rise, and biases.
    """

    node: Node
    geometry: tuple[Axis, Axis]
    multiplier: int
    ending: Epilogue
    weights: np.ndarray
    context: dict[str, Any]
    copy: Copy
    stem: str
    staircase: Callable[[], tuple[Staircase | None, np.ndarray]]
    headers: tuple[str, ...] = scalar.HEADERS

    @property
    def in_place(self) -> bool:
        """Whether a channel's output may overwrite its input, once that is copied."""
        x, y = self.node.input(0), self.node.output
        bytes_of_codes = x.memory_dtype.itemsize == y.memory_dtype.itemsize == 1
        bits = y.packed_bits
        # Channels that fill whole words: what else is in these is 0.
        words_of_codes = x.packed_bits == bits > 0 and not x.shape[3] * bits % WORD_BITS
        return self.multiplier == 1 and x.shape == y.shape and (bytes_of_codes or words_of_codes)


_packing = partial(kernel, DepthwiseConv2D, Conv2D, family="tinygen", isa="scalar", unpacks=True, packs=True)


@also_16x8(DepthwiseConv2D)
@_packing(name="depthwise_conv_2d_scalar")
def depthwise_conv_2d_scalar(node: Node) -> KernelPlan | None:
    """Padded channels are copied one by one; small windows roll down columns; codes and weights of up to 16 bits."""
    job = job_of(node)
    if job is None:
        return None
    if job.ending.context["form"] not in LONG_FORMS:
        return plan_of(job)
    # One product's upper word instead of 64 bits where sums are small.
    staircase, bias = job.staircase()
    ending = high_word_epilogue(staircase, bias, unsigned_bits=job.ending.context.get("unsigned_bits", 0))
    return plan_of(replace(job, ending=ending or job.ending))


@also_16x8(DepthwiseConv2D)
@_packing(name="depthwise_conv_2d_scalar_unpacked")
def depthwise_conv_2d_scalar_unpacked(node: Node) -> KernelPlan | None:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    plan = depthwise_conv_2d_scalar(node)
    return all_unpacked(plan) if plan else None


def multiplier_of(node: Node) -> int | None:
    """Filters of each input channel; None for a convolution whose filters have several kernels."""
    op, channels = node.op, node.input(0).shape[3]
    if isinstance(op, DepthwiseConv2D):
        return op.multiplier(node)
    assert isinstance(op, Conv2D)
    return node.input(1).shape[0] // channels if op.groups(node) == channels and not op.is_tflite else None


def job_of(node: Node) -> Job | None:
    """The job; None for layers that are not depthwise, or whose integers have more than 16 bits."""
    op, x = node.op, node.input(0)
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    # Packed codes have the same values.
    in_bytes = replace(x, code_bits=0)
    copy, multiplier = scalar.any_copy_of(in_bytes), multiplier_of(node)
    if copy is None or multiplier is None or (x.code_bits and copy.values):
        return None
    layer = integer_layer(
        replace(node, inputs=(in_bytes, *node.inputs[1:])), wide=True, reads="halves" if copy.wide else "any"
    )
    if layer is None:
        return None
    weights = smallest_integers(layer.weights[..., 0])
    ending = scalar.moved(layer.epilogue, weights, copy)
    stem = f"depthwise_conv_2d_{layer.kinds}_scalar"
    headers = (*layer.headers, *scalar.HEADERS)

    def staircase() -> tuple[Staircase | None, np.ndarray]:
        found, bias = layer.staircase()
        return found, bias + ending.rows[:, 0] - layer.epilogue.rows[:, 0]

    context = layer.context | ({"source": "input"} if x.code_bits else {})
    return Job(node, op.geometry(node), multiplier, ending, weights, context, copy, stem, staircase, headers)


def plan_of(job: Job) -> KernelPlan | None:
    """The plan; None where not even a row of the window can be written out."""
    rows, columns = job.geometry
    node, filters, channels = job.node, len(job.weights), job.node.input(0).shape[3]
    padded = rows.padded or columns.padded
    bits = node.input(0).code_bits
    copies = padded or job.copy.changes or bits > 0
    inplace = copies and job.in_place
    plane_h, plane_w = (_reach(axis) if copies else axis.input for axis in job.geometry)
    pixel_step = 1 if copies else channels
    row_step, tap_step = rows.dilation * plane_w * pixel_step, columns.dilation * pixel_step
    size = job.copy.dtype.itemsize
    unroll = _unrolled(rows.kernel, columns.kernel, size * row_step, size * tap_step)
    if unroll == 0:
        return None
    walk = _walk(rows, columns)
    cycles = (
        node.output.shape[0] * filters * _cycles(rows, columns, walk, job.copy if copies else None, packed=bits > 0)
    )
    cycles += node.output.size * _STORED * (node.output.code_bits > 0)
    return KernelPlan(
        template="depthwise/depthwise_conv_2d_scalar.c.j2",
        stem=window_stem(job.stem, job.geometry),
        context={
            **window_context(node, job.geometry),
            **job.ending.context,
            **job.context,
            "weight_type": ctype(job.weights.dtype),
            "weights_code": None,
            "from_type": "int16_t" if job.copy.wide else "int8_t",
            "x_type": ctype(job.copy.dtype),
            "x_size": job.copy.dtype.itemsize,
            "lowest": None if job.copy.values is None else job.copy.lowest,
            "signed_codes": job.copy.values is not None and job.copy.lowest + job.copy.values.data.size <= 128,
            "levels": job.copy.levels,
            "flips": job.copy.flips,
            "bits": job.copy.bits,
            "x_bits": bits,
            "inplace": inplace,
            "in_step": pixel_elements(node.input(0)),
            "multiplier_count": job.multiplier,
            "input_zero": job.copy.fill if padded else 0,
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
            Constant("weights", job.weights.reshape(-1), f"[C, KH, KW] [{filters}, {rows.kernel}, {columns.kernel}]"),
            job.ending.constant(),
            *((job.copy.values,) if job.copy.values else ()),
        ),
        scratch_bytes=job.copy.dtype.itemsize * plane_h * plane_w if copies else 0,
        inplace=((0, 0),) if inplace else (),
        headers=job.headers,
        cycles=cycles,
        armv6m_cycles=(_LOOP_ON_ARMV6M if walk == "loop" else ON_ARMV6M) * cycles
        + node.output.size * LONG_PRODUCTS.get(job.ending.context["form"], _OTHERS),
    )


def _reach(axis: Axis) -> int:
    """Codes from the first that a window touches to the last, the border included."""
    return (axis.output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1


def _unrolled(rows: int, columns: int, row_step: int, tap_step: int) -> int:
    """Unrolled rows of a window, as far as constant offsets reach; 0 if not even one row can be."""
    reach = (_REACH - (columns - 1) * tap_step) // row_step + 1
    return max(min(rows, _LONGEST // columns, reach), 0)


def _walk(rows: Axis, columns: Axis) -> str:
    """The order in which a channel's windows are computed."""
    if rows.kernel * columns.kernel > _IN_REGISTERS:
        return "loop"
    return "rolling" if rows.stride == rows.dilation == 1 and rows.output > 1 else "whole"


def _cycles(rows: Axis, columns: Axis, walk: str, copy: Copy | None, *, packed: bool) -> float:
    """Predicted cycles of one channel."""
    taps, outputs = rows.kernel * columns.kernel, rows.output * columns.output
    each = 0.0 if copy is None else _BIT if copy.bits or copy.values or packed else _COPIED
    copied = each * rows.input * columns.input
    if walk == "rolling":
        loads = 2 * columns.kernel * (rows.output + rows.kernel - 1) * columns.output
        body = loads + outputs * (taps * _ROLLED_TAP + _OUTPUT) + columns.output * (_COLUMN + taps * _ROLLED_TAP)
    else:
        body = outputs * (taps * (_TAP if walk == "whole" else _LOADED_TAP) + _OUTPUT)
    return copied + body + _CHANNEL
