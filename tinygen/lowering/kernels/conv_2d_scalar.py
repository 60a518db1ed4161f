"""Tuned kernels of convolutions for cores without SIMD: four pixels times four filters, codes as they lie.

Predicted cycles are those of the ESP32-C3's core: a load takes two, a product and its addition two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import Rounding
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.lowering.kernels.support import scalar
from tinygen.lowering.kernels.support.codes import kind_of
from tinygen.lowering.kernels.support.integer_layer import integer_layer
from tinygen.lowering.kernels.support.requantize import Epilogue, epilogue
from tinygen.lowering.kernels.support.scalar import Copy
from tinygen.lowering.kernels.support.window import window_context, window_stem
from tinygen.lowering.plan import KernelPlan, kernel

_BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128)

# Cycles: a tap of a tile, in eights and beyond them; a piece of a window; a tile with its codes; the same of one pixel.
_TAP, _REST, _PIECE, _TILE = 49.0, 56.0, 24.0, 330.0
_TAP_OF_ONE, _ONE = 18.6, 90.0
# A code copied; what each piece of a copy begins with; a weight that comes from flash anew, as most of them do when the
# layer's are more than this many bytes (the ESP32-C3 has a cache of 16 Kbytes, which costs 304 cycles per 32 bytes).
_COPIED, _BEGUN, _FETCHED, _CACHED = 0.8, 30.0, 8.0, 12288


@dataclass(frozen=True, eq=False)
class Job:
    """A convolution made ready for these kernels.

    Attributes:
        node: the layer; its operator has geometry.
        ending: what becomes of sums.
        weights: int8 [O, KH, KW, I].
        context: template values of how codes are read and written.
        copy: how codes come to scratch.
        stem: of the C function's name.
        headers: that the C function needs.
    """

    node: Node
    ending: Epilogue
    weights: np.ndarray
    context: dict[str, Any]
    copy: Copy
    stem: str
    headers: tuple[str, ...] = scalar.HEADERS

    @property
    def op(self) -> Conv2D | IntegerConv2D:
        assert isinstance(self.node.op, Conv2D | IntegerConv2D)
        return self.node.op


def _int8_job(node: Node) -> Job | None:
    op = node.op
    assert isinstance(op, Conv2D)
    if node.output.dtype != np.int8 or not node.input(1).is_constant or op.groups(node) > 1:
        return None
    ending = epilogue(node, axis=0)
    if ending is None:
        assert op.rounding is not Rounding.TWICE
        return None
    context = {
        "source": "input",
        "y_type": "int8_t",
        "packed_output": False,
        "y_step": node.output.shape[3],
        "unsigned_bits": 0,
    }
    return Job(node, ending, node.constant(1), context, Copy(node.input(0).zero_point), "conv_2d_s8_scalar")


def _integer_job(node: Node) -> Job | None:
    op = node.op
    assert isinstance(op, IntegerConv2D)
    copy = scalar.copy_of(node.input(0))
    if op.groups(node) > 1 or copy is None or integer_mac.kernel_scales(node) is not None:
        return None
    layer = integer_layer(node, op.epilogue)
    if layer is None:
        return None
    stem = f"conv_2d_{kind_of(node.input(0).integer)}_{kind_of(node.input(1).integer)}_scalar"
    headers = ("tinygen_codes.h", *scalar.HEADERS)
    weights = layer.weights.astype(np.int8)
    return Job(node, scalar.moved(layer.epilogue, weights, copy), weights, layer.context, copy, stem, headers)


@kernel(Conv2D, name="conv_2d_s8_scalar", family="tinygen", isa="scalar")
def conv_2d_s8_scalar(node: Node) -> Sequence[KernelPlan]:
    """Windows where they lie, or in padded rows, or copied one by one: any shape."""
    job = _int8_job(node)
    return _plans(job) if job else ()


@kernel(IntegerConv2D, name="integer_conv_2d_scalar", family="tinygen", isa="scalar")
def integer_conv_2d_scalar(node: Node) -> Sequence[KernelPlan]:
    """The same for weights and activations of up to 8 bits."""
    job = _integer_job(node)
    return _plans(job) if job else ()


def _plans(job: Job) -> Sequence[KernelPlan]:
    rows, columns = job.op.geometry(job.node)
    whole_rows = columns.dilation == 1
    if whole_rows and not (rows.padded or columns.padded) and not job.copy.changes:
        return [_plan(job, "direct", rows.output)]
    sizes = sorted({min(size, rows.output) for size in _BLOCKS})
    forms = ("rows", "windows") if whole_rows else ("windows",)
    plans = [_plan(job, form, size) for form in forms for size in sizes]
    best = min(plans, key=lambda plan: plan.cycles)
    # What takes more scratch and more cycles than another is of no use.
    return [plan for plan in plans if plan is best or plan.scratch_bytes < best.scratch_bytes]


@dataclass(frozen=True)
class _Place:
    """Where windows lie.

    Attributes:
        pieces, piece, skip: see tg_tile.
        step, jump: bytes from a pixel to the next, and more from the last of a row.
        pitch: bytes of a row in scratch.
        scratch_bytes: of a block.
        cycles: of copying a block.
    """

    pieces: int
    piece: int
    skip: int
    step: int
    jump: int
    pitch: int = 0
    scratch_bytes: int = 0
    cycles: float = 0.0


def _place(job: Job, form: str, size: int) -> _Place:
    """Where the windows of `size` output rows lie."""
    rows, columns = job.op.geometry(job.node)
    depth = job.node.input(0).shape[3]
    width, taps = columns.kernel * depth, rows.kernel * columns.kernel * depth
    if form == "windows":
        pixels = size * columns.output
        begun = rows.kernel * (1 if columns.dilation == 1 else columns.kernel)
        cycles = pixels * (taps * _COPIED * job.copy.cost + (begun + 1) * _BEGUN)
        return _Place(1, taps, 0, taps, 0, 0, pixels * taps, cycles)
    span = (rows.kernel - 1) * rows.dilation + 1
    pixels_w = columns.input if form == "direct" else (columns.output - 1) * columns.stride + columns.kernel
    pitch = pixels_w * depth
    step = columns.stride * depth
    jump = rows.stride * pitch - columns.output * step
    skip = rows.dilation * pitch - width
    # Pieces that touch are one.
    pieces = (rows.kernel, width, skip) if skip and rows.kernel > 1 else (1, taps, 0)
    if form == "direct":
        return _Place(*pieces, step, jump)
    buffered = (size - 1) * rows.stride + span
    cycles = buffered * (pitch * _COPIED * job.copy.cost + 2 * _BEGUN)
    return _Place(*pieces, step, jump, pitch, buffered * pitch, cycles)


def _plan(job: Job, form: str, size: int) -> KernelPlan:
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    place = _place(job, form, size)
    weights = scalar.by_four(job.weights.reshape(len(job.weights), -1))
    blocks = -(-rows.output // size)
    last = rows.output - (blocks - 1) * size
    tiles = [divmod(count * columns.output, 4) for count in (*[size] * (blocks - 1), last)]
    fours, ones = (sum(column) for column in zip(*tiles, strict=True))
    whole, rest = divmod(place.piece, 8)
    tile = place.pieces * (8 * whole * _TAP + rest * _REST + _PIECE) + _TILE
    one = place.pieces * (place.piece * _TAP_OF_ONE + _PIECE) + _ONE
    passes = blocks - 1 if weights.data.size > _CACHED else 0
    cycles = blocks * place.cycles + passes * _FETCHED * weights.data.size
    cycles += len(weights.rows) // 4 * (fours * tile + ones * one)
    return KernelPlan(
        template="conv_2d/conv_2d_s8_scalar.c.j2",
        stem=window_stem(job.stem, geometry),
        context={
            **window_context(node, geometry),
            **job.ending.context,
            **job.context,
            **job.copy.context,
            "input_zero": job.copy.fill if rows.padded or columns.padded else 0,
            "padded_h": rows.padded,
            "padded_w": columns.padded,
            "whole_rows": columns.dilation == 1 and columns.input >= columns.kernel,
            "form_of_input": form,
            "span_h": (rows.kernel - 1) * rows.dilation + 1,
            "rows": size,
            "blocks": blocks,
            "last_rows": last,
            "taps": weights.rows.shape[1],
            "copied": min(columns.input, (columns.output - 1) * columns.stride + columns.kernel - columns.before),
            **{name: getattr(place, name) for name in ("pieces", "piece", "skip", "step", "jump", "pitch")},
        },
        constants=(weights.constant, job.ending.constant()),
        scratch_bytes=place.scratch_bytes,
        headers=job.headers,
        cycles=node.output.shape[0] * cycles,
    )
