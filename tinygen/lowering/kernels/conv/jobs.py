"""Convolutions prepared for the kernels of two pixels times four filters (support/loops/dot_job.py)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tinygen.ir.encodings import Levels
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.lowering.kernels.support.activations.widening import needs_widening, whole_words, widening
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.loops.dot_job import Convolution, Job, added_sum
from tinygen.lowering.kernels.support.weights import coded_weights
from tinygen.lowering.kernels.support.weights.coded_weights import GridCode, find_any_code, find_byte_code
from tinygen.lowering.kernels.support.weights.nested_weights import nested_code

_HEADERS = ("tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")
_FURTHEST = 3000
"""Bytes from one pixel to its neighbour, at most: the inner loop adds both to LDR's constant offset, 4095 at most."""


def job_of(node: Node) -> Job | None:
    """The job for any encodings whose integers fit int16, with groups, kernel scales and a fused ADD."""
    op = node.op
    assert isinstance(op, Conv2D)
    if isinstance(op, Conv2DAdd) and not op.is_tflite:
        return None  # its sums are those of `sums_by_blocks`
    scales = None if op.is_tflite else integer_mac.kernel_scales(node)
    layer = integer_layer(node, scaled=scales is not None, wide=True, reads="any")
    if layer is None or ((node.input(0).code_bits or node.output.code_bits) and op.groups(node) > 1):
        return None  # words of codes are read from their first, and written four filters at a time
    linear = added_sum(node)
    context = layer.context | {"residual": linear.context() if linear else None}
    stem, headers = f"{op.KIND}_{layer.kinds}_dsp", (*layer.headers, *_HEADERS)
    weights = layer.weights.astype(np.int16)
    return Job(node, layer.by_lengths.epilogue, weights, context, stem, headers, kernel_scales=scales)


def bytes_job(node: Node) -> Job | None:
    """The job without kernel scales, with weights as bytes."""
    job = job_of(node)
    if job is None or job.kernel_scales is not None:
        return None
    fits = job.weights.min(initial=0) >= -128 and job.weights.max(initial=0) <= 127
    return replace(job, weights=job.weights.astype(np.int8)) if fits else None


def plain_job(node: Node) -> Job | None:
    """The job with one group as well, and activations in bytes."""
    assert isinstance(node.op, Conv2D)
    return None if node.op.groups(node) > 1 or needs_widening(node.input(0)) else bytes_job(node)


def nested_job(node: Node) -> Job | None:
    """The job with weights read from 8-bit codes, which this layer may share with others."""
    op = node.op
    assert isinstance(op, Conv2D)
    if op.groups(node) > 1 or needs_widening(node.input(0)) or not node.input(1).is_constant:
        return None
    layer = integer_layer(node, wide=True)
    code = nested_code(node.input(1), layer.falling) if layer else None
    if layer is None or code is None:
        return None
    stem = f"{op.KIND}_{layer.kinds}_dsp_{code.name}"
    headers = (coded_weights.HEADER, *layer.headers, *_HEADERS)
    return Job(node, layer.by_lengths.epilogue, layer.weights, layer.context | {"residual": None}, stem, headers, code)


def packed_job(job: Job | None) -> Job | None:
    """The job with its weights in a code of less than 8 bits, or of 8 for more than bytes; None where none fits."""
    if job is None:
        return None
    few = find_any_code(job.weights)
    # Bytes that other switches read, too, stay as those read them.
    alone = job.node.input(1).nested_in is None
    code = few if few is not None and few.bits < 8 else (find_byte_code(job.weights) if alone else None) or few
    if code is None:
        return None
    return replace(job, code=code, stem=f"{job.stem}_{code.name}", headers=(coded_weights.HEADER, *job.headers))


def scales_fit(job: Job) -> bool:
    """Whether scaled weights are int16, and codes even."""
    if job.kernel_scales is None:
        return True
    largest = int(np.abs(job.weights.astype(np.int64)).max()) * int(job.kernel_scales.max())
    return isinstance(job.code, GridCode) and largest < 2**15


def takes_rows(node: Node) -> bool:
    """Whether windows can be taken straight from rows that are widened as they lie."""
    return _in_words(node) and _reaches(node)


def _in_words(node: Node) -> bool:
    """Whether pixels are bytes in whole words, of one group."""
    op, x = node.op, node.input(0)
    assert isinstance(op, Convolution)
    return op.groups(node) == 1 and not needs_widening(x) and x.shape[3] % 4 == 0


def _reaches(node: Node) -> bool:
    op = node.op
    assert isinstance(op, Convolution)
    rows, columns = op.geometry(node)
    too_far = columns.stride * whole_words(node.input(1).shape[3]) * 2 > _FURTHEST
    return not (rows.kernel * columns.kernel == 1 or columns.dilation > 1 or too_far)


def rows_job(job: Job | None) -> Job | None:
    """The job for `rows_plans`; None if windows cannot be taken from rows."""
    if job is None or not _reaches(job.node):
        return None
    return job if _in_words(job.node) else _by_pixels(job)


def windows_job(job: Job | None, *, codes: bool = True) -> Job | None:
    """The job for `windows_plans`.

    Args:
        codes: there is a code that may pad windows, if these are copied as codes.
    """
    if job is None:
        return None
    # Scales are those of whole words of channels.
    scaled = job.kernel_scales is not None and job.weights.shape[3] % 4 > 0
    as_bytes = codes and not scaled and job.groups == 1 and not needs_widening(job.node.input(0))
    return job if as_bytes else _by_pixels(job)


def _by_pixels(job: Job) -> Job:
    """The job with its activations widened pixel by pixel."""
    found = widening(job.node.input(0), job.groups, job.context["fill"])
    return replace(job, widen=found, headers=(*job.headers, "tinygen_codes.h", "tinygen_widen.h"))


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
