"""Tuned kernels of CONV_2D for Armv7E-M: two pixels times four filters, int16 in scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.window import Axis
from tinygen.lowering.kernels.conv.jobs import (
    bytes_job,
    fills_with_codes,
    job_of,
    nested_job,
    packed_job,
    pads_with_codes,
    rows_job,
    scales_fit,
    takes_rows,
    windows_job,
)
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.loops.block_sums import sums_by_blocks
from tinygen.lowering.kernels.support.loops.dot_job import AHEAD, EXTEND, Job, Packed
from tinygen.lowering.kernels.support.loops.sixteen_bits import also_16x8
from tinygen.lowering.plan import KernelPlan, kernel

_BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128)
# Instructions per element, measured: one multiply-accumulate, finishing one output; widening, after a copy of whole
# rows of the window, after one of single taps; of windows beyond the input, there.
_MAC, _OUTPUT, _COPY, _GATHER, _EDGE = 0.48, 6.0, 2.0, 4.0, 7.0
_APART, _INTO_WORDS = 3.5, 1.5
"""Of an output of copied windows more: where weights are codes, and sums a function of their own; where its code goes
into a word.
"""


def _context(job: Job, taps: int) -> dict[str, Any]:
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    fill = job.context["fill"] if rows.padded or columns.padded else 0
    return {
        **window_context(node, geometry),
        **job.ending.context,
        "boosted": False,
        "fields": job.ending.words,
        **{key: value for key, value in job.context.items() if key != "fill"},
        "taps": taps,
        "depth": job.depth,
        "groups": job.groups,
        "filters": job.filters // job.groups,
        "live": None,
        "widen": job.widen.context if job.widen else None,
        "pixel": pixel_elements(node.input(0)),
        "span_h": (rows.kernel - 1) * rows.dilation + 1,
        "input_zero": fill,
    }


def inplace(node: Node, pointwise: bool) -> tuple[tuple[int, int], ...]:
    """The output may overlap the operand that is added to it, and the input of pointwise layers."""
    fits = pointwise and node.output.shape[3] <= node.input(0).shape[3] and node.output.shape[0] == 1
    return (((3, 0),) if isinstance(node.op, Conv2DAdd) else ()) + (((0, 0),) if fits else ())


def _blocks(total: int) -> list[int]:
    return sorted({min(size, total) for size in _BLOCKS})


@also_16x8(Conv2D)
@kernel(Conv2D, Conv2DAdd, name="conv_2d_dsp_rows", family="tinygen", isa="dsp", unpacks=True, packs=True)
@partial(sums_by_blocks, adds=True)
def conv_2d_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows: for windows of several pixels."""
    job = rows_job(bytes_job(node))
    return rows_plans(job) if job else ()


@also_16x8(Conv2D)
@kernel(Conv2D, Conv2DAdd, name="conv_2d_packed_dsp_rows", family="tinygen", isa="dsp", unpacks=True, packs=True)
@partial(sums_by_blocks, adds=True)
def conv_2d_packed_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    job = rows_job(packed_job(job_of(node)))
    return rows_plans(job) if job and scales_fit(job) else ()


@also_16x8(Conv2D)
@kernel(Conv2D, Conv2DAdd, name="conv_2d_dsp", family="tinygen", isa="dsp", unpacks=True, packs=True)
@partial(sums_by_blocks, adds=True)
def conv_2d_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch (im2col): any shape; pointwise ones straight from the activations."""
    job = windows_job(bytes_job(node), codes=pads_with_codes(node))
    return windows_plans(job) if job else ()


@also_16x8(Conv2D)
@kernel(Conv2D, Conv2DAdd, name="conv_2d_packed_dsp", family="tinygen", isa="dsp", unpacks=True, packs=True)
@partial(sums_by_blocks, adds=True)
def conv_2d_packed_dsp(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    job = windows_job(packed_job(job_of(node)), codes=pads_with_codes(node) and not fills_with_codes(node))
    return windows_plans(job) if job and scales_fit(job) else ()


@kernel(Conv2D, of="codes", name="conv_2d_nested_dsp_rows", family="tinygen", isa="dsp")
def conv_2d_nested_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows, weights of 1, 2, 4 or 8 bits from codes of 8 that switches share."""
    job = nested_job(node) if takes_rows(node) else None
    return _sharing(node, rows_plans(job)) if job else ()


@kernel(Conv2D, of="codes", name="conv_2d_nested_dsp", family="tinygen", isa="dsp")
def conv_2d_nested_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch, weights of 1, 2, 4 or 8 bits from codes of 8 that switches share."""
    job = nested_job(node) if pads_with_codes(node) and not fills_with_codes(node) else None
    return _sharing(node, windows_plans(job)) if job else ()


def _sharing(node: Node, plans: Sequence[KernelPlan]) -> Sequence[KernelPlan]:
    """Plans that mark the constants that they share with other switches."""
    if node.input(1).nested_in is None or node.input(1).nested_in is node.input(1).data:
        return plans
    return [replace(plan, shared_bytes=plan.constants[0].data.nbytes) for plan in plans]


def rows_plans(job: Job) -> Sequence[KernelPlan]:
    """Plans for a job of `rows_job`."""
    packed = job.packed()
    rows, _ = job.op.geometry(job.node)
    return [_rows_plan(job, size, packed) for size in _blocks(rows.output)]


def _rows_plan(job: Job, size: int, packed: Packed) -> KernelPlan:
    """The plan that widens the input of `size` output rows at a time."""
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    filters, taps = packed.filters, packed.taps
    depth = job.depth
    width = (columns.output - 1) * columns.stride + columns.kernel
    context = _context(job, taps)
    buffer_rows = (size - 1) * rows.stride + context["span_h"]
    # The second pixel of the last pair of an odd row is past the buffer's end.
    slack = (columns.stride * depth // 2 if columns.output % 2 else 0) + AHEAD // 4
    pitch = width * depth // 2
    blocks = -(-rows.output // size)
    pairs = rows.output * -(-columns.output // 2)
    per_pixel = job.widen.cycles if job.widen else depth * EXTEND
    return KernelPlan(
        template="conv/conv_2d_dsp_rows.c.j2",
        stem=window_stem(job.stem, geometry),
        context=context
        | packed.context
        | {
            "rows": size,
            "block": size * columns.output,
            "buffer_rows": buffer_rows,
            "pitch": pitch,
            "slack": slack,
            "pairs_w": -(-columns.output // 2),
            "copied": min(columns.input, width - columns.before),
        },
        constants=packed.constants,
        operands=job.operands,
        inplace=inplace(node, False),
        scratch_bytes=4 * (packed.scratch_words + buffer_rows * pitch + slack + job.spare_words),
        headers=job.headers,
        cycles=node.output.shape[0]
        * (
            blocks * (buffer_rows * width * job.groups * per_pixel + filters * taps * packed.extend)
            + 2 * pairs * filters * (taps * _MAC + rows.kernel * 1.5 + _OUTPUT + packed.ending)
        ),
    )


def _output(job: Job) -> float:
    """Cycles of an output, beside its sum's."""
    return _OUTPUT + (_APART if job.code else 0) + (_INTO_WORDS if job.context["packed_output"] else 0)


def _edges(geometry: tuple[Axis, Axis]) -> float:
    """The share of windows that reach beyond the input."""
    inside = 1.0
    for axis in geometry:
        starts = np.arange(axis.output) * axis.stride - axis.before
        inside *= float(np.mean((starts >= 0) & (starts + (axis.kernel - 1) * axis.dilation < axis.input)))
    return 1.0 - inside


def windows_plans(job: Job) -> Sequence[KernelPlan]:
    """Plans that copy windows into scratch."""
    packed = job.packed()
    pixels = job.node.output.shape[1] * job.node.output.shape[2]
    blocks = _blocks(pixels + pixels % 2)
    return [_windows_plan(job, size, packed) for size in blocks if size % 2 == 0]


def _windows_plan(job: Job, size: int, packed: Packed) -> KernelPlan:
    """The plan that widens `size` windows at a time, an even number."""
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    filters, taps = packed.filters, packed.taps
    depth = job.depth
    window = rows.kernel * columns.kernel
    pointwise = window * rows.stride * columns.stride == 1 and depth % 4 == 0
    # A row of a window is contiguous; in whole words it needs no copy. Long rows of other sizes are rare.
    whole_rows = columns.dilation == 1 and (columns.kernel * depth % 4 == 0 or columns.kernel * depth <= 64)
    segment = columns.kernel * depth if whole_rows and columns.kernel * depth % 4 == 0 else 0
    gathers = not job.widen and not pointwise and (rows.padded or columns.padded or not segment)
    filling = EXTEND if pointwise or segment else _COPY if whole_rows else _GATHER
    if not (pointwise or segment):
        filling += _edges(geometry) * max(_EDGE - filling, 0.0)
    if job.widen:
        filling = job.groups * job.widen.cycles / depth
    pixels = node.output.shape[1] * node.output.shape[2]
    return KernelPlan(
        template="conv/conv_2d_dsp.c.j2",
        stem=window_stem(job.stem, geometry),
        context=_context(job, taps)
        | packed.context
        | {
            "pixels": size,
            "block": size,
            "odd": pixels % 2 == 1,
            "pointwise": pointwise,
            "segment": segment,
            "whole_rows": whole_rows,
            "gathers": gathers,
            "spare_words": job.spare_words,
        },
        constants=packed.constants,
        operands=job.operands,
        scratch_bytes=4 * packed.scratch_words + 2 * taps * size + 4 * job.spare_words + (taps if gathers else 0),
        inplace=inplace(node, pointwise and job.groups == 1 and not job.widen),
        headers=job.headers,
        cycles=node.output.shape[0]
        * (
            pixels * (taps * filling + filters * (taps * _MAC + _output(job) + packed.ending))
            + -(-pixels // size) * filters * taps * packed.extend
        ),
    )
