"""Convolutions on integer codes with the multiplying kernels of CONV_2D for Armv7E-M."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.ir.encodings import Levels
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.lowering.kernels.conv.conv_2d_dsp import (
    packed_job,
    rows_job,
    rows_plans,
    takes_rows,
    windows_job,
    windows_plans,
)
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.widening import needs_widening
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.loops.dot_job import Convolution, Job
from tinygen.lowering.kernels.support.weights import coded_weights
from tinygen.lowering.kernels.support.weights.coded_weights import GridCode
from tinygen.lowering.kernels.support.weights.nested_weights import nested_code
from tinygen.lowering.plan import KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")


def _job(node: Node) -> Job | None:
    """The job for any encodings whose integers fit int16, with groups and kernel scales."""
    op = node.op
    assert isinstance(op, IntegerConv2D)
    scales = integer_mac.kernel_scales(node)
    layer = integer_layer(node, op.epilogue, scaled=scales is not None, wide=True, reads="any")
    if layer is None or ((node.input(0).code_bits or node.output.code_bits) and op.groups(node) > 1):
        return None  # words of codes are read from their first, and written four filters at a time
    stem = f"conv_2d_{kind_of(node.input(0).integer)}_{kind_of(node.input(1).integer)}_dsp"
    context, epilogue = layer.context | {"residual": None}, layer.by_lengths.epilogue
    return Job(node, epilogue, layer.weights.astype(np.int16), context, stem, _HEADERS, kernel_scales=scales)


def _bytes_job(node: Node) -> Job | None:
    """The job without kernel scales, with weights as bytes."""
    job = _job(node)
    if job is None or job.kernel_scales is not None:
        return None
    fits = job.weights.min(initial=0) >= -128 and job.weights.max(initial=0) <= 127
    return replace(job, weights=job.weights.astype(np.int8)) if fits else None


def plain_job(node: Node) -> Job | None:
    """The job with one group as well, and activations in bytes."""
    assert isinstance(node.op, IntegerConv2D)
    return None if node.op.groups(node) > 1 or needs_widening(node.input(0)) else _bytes_job(node)


@kernel(IntegerConv2D, name="integer_conv_2d_dsp_rows", family="tinygen", isa="dsp", unpacks=True, packs=True)
def integer_conv_2d_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows."""
    job = rows_job(_bytes_job(node))
    return rows_plans(job) if job else ()


@kernel(IntegerConv2D, name="integer_conv_2d_packed_dsp_rows", family="tinygen", isa="dsp", unpacks=True, packs=True)
def integer_conv_2d_packed_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    job = rows_job(packed_job(_job(node)))
    return rows_plans(job) if job and _scales_fit(job) else ()


def _scales_fit(job: Job) -> bool:
    """Whether scaled weights are int16, and codes even."""
    if job.kernel_scales is None:
        return True
    largest = int(np.abs(job.weights.astype(np.int64)).max()) * int(job.kernel_scales.max())
    return isinstance(job.code, GridCode) and largest < 2**15


@kernel(IntegerConv2D, name="integer_conv_2d_dsp", family="tinygen", isa="dsp", unpacks=True, packs=True)
def integer_conv_2d_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch."""
    job = windows_job(_bytes_job(node), codes=pads_with_codes(node))
    return windows_plans(job) if job else ()


@kernel(IntegerConv2D, name="integer_conv_2d_packed_dsp", family="tinygen", isa="dsp", unpacks=True, packs=True)
def integer_conv_2d_packed_dsp(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    job = windows_job(packed_job(_job(node)), codes=pads_with_codes(node) and not fills_with_codes(node))
    return windows_plans(job) if job and _scales_fit(job) else ()


def _nested_job(node: Node) -> Job | None:
    """The job with weights read from 8-bit codes, which this layer may share with others."""
    op = node.op
    assert isinstance(op, IntegerConv2D)
    if op.groups(node) > 1 or needs_widening(node.input(0)) or not node.input(1).is_constant:
        return None
    layer = integer_layer(node, op.epilogue, wide=True)
    code = nested_code(node.input(1), layer.falling) if layer else None
    if layer is None or code is None:
        return None
    stem = f"conv_2d_{kind_of(node.input(0).integer)}_{kind_of(node.input(1).integer)}_dsp_{code.name}"
    headers = (coded_weights.HEADER, *_HEADERS)
    return Job(node, layer.by_lengths.epilogue, layer.weights, layer.context | {"residual": None}, stem, headers, code)


@kernel(IntegerConv2D, name="integer_conv_2d_nested_dsp_rows", family="tinygen", isa="dsp")
def integer_conv_2d_nested_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows, weights of 1, 2, 4 or 8 bits from codes of 8."""
    job = _nested_job(node) if takes_rows(node) else None
    return _sharing(node, rows_plans(job)) if job else ()


@kernel(IntegerConv2D, name="integer_conv_2d_nested_dsp", family="tinygen", isa="dsp")
def integer_conv_2d_nested_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch, weights of 1, 2, 4 or 8 bits from codes of 8."""
    job = _nested_job(node) if pads_with_codes(node) and not fills_with_codes(node) else None
    return _sharing(node, windows_plans(job)) if job else ()


def _sharing(node: Node, plans: Sequence[KernelPlan]) -> Sequence[KernelPlan]:
    """Plans that mark the constants that they share with other switches."""
    if node.input(1).nested_in is None or node.input(1).nested_in is node.input(1).data:
        return plans
    return [replace(plan, shared_bytes=plan.constants[0].data.nbytes) for plan in plans]


def fills_with_codes(node: Node) -> bool:
    """Whether windows are padded to whole words although no code is zero."""
    x = node.input(0).encoding
    return isinstance(x, Levels) and x.signed and math.prod(node.input(1).shape[1:]) % 4 > 0


def pads_with_codes(node: Node) -> bool:
    """Whether windows can be padded with codes: one must be zero, unless nothing is padded."""
    op, x = node.op, node.input(0).encoding
    assert isinstance(op, Convolution)
    rows, columns = op.geometry(node)
    return not (isinstance(x, Levels) and x.signed and (rows.padded or columns.padded))
