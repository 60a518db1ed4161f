"""Tuned kernels of CONV_2D for Armv7E-M: two pixels times four filters, int16 in scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import Rounding
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support import coded_weights
from tinygen.lowering.kernels.support.coded_weights import AnyCode, find_any_code, pack_blocks
from tinygen.lowering.kernels.support.codes import pixel_elements
from tinygen.lowering.kernels.support.nested_weights import NestedCode
from tinygen.lowering.kernels.support.packing import pack_dot_blocks
from tinygen.lowering.kernels.support.requantize import Epilogue, epilogue
from tinygen.lowering.kernels.support.sums import LinearSum, fit_sum
from tinygen.lowering.kernels.support.widening import Widening, needs_widening, whole_words, widening
from tinygen.lowering.kernels.support.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128)
_HEADERS = ("tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")
_FURTHEST = 3000
"""Bytes from one pixel to its neighbour, at most: the inner loop adds both to LDR's constant offset, 4095 at most."""
_AHEAD = 8
"""Bytes that tg_dot_2x4() reads behind its last pair."""

# Instructions per element, measured: one multiply-accumulate, finishing one output; widening, after a copy of whole
# rows of the window, after one of single taps; of windows beyond the input, there.
_MAC, _OUTPUT, _SPREAD, _COPY, _GATHER, _EDGE = 0.48, 6.0, 1.35, 2.0, 4.0, 7.0


Convolution = Conv2D | IntegerConv2D


@dataclass(frozen=True, eq=False)
class Job:
    """A convolution made ready for these kernels.

    Attributes:
        node: the layer; its operator has geometry and groups.
        ending: what becomes of sums.
        weights: [O, KH, KW, I], int8 but with a code.
        context: template values of how codes are read and written.
        stem: of the C function's name.
        code: what the weights are packed in; None for bytes.
        kernel_scales: [O, I], what each kernel is multiplied with while it is unpacked; with a GridCode.
        widen: how activations are widened pixel by pixel; None where whole rows of bytes are at once.
    """

    node: Node
    ending: Epilogue
    weights: np.ndarray
    context: dict[str, Any]
    stem: str
    headers: tuple[str, ...] = _HEADERS
    code: AnyCode | NestedCode | None = None
    kernel_scales: np.ndarray | None = None
    widen: Widening | None = None

    @property
    def op(self) -> Convolution:
        assert isinstance(self.node.op, Convolution)
        return self.node.op

    @property
    def groups(self) -> int:
        return self.op.groups(self.node)

    @property
    def depth(self) -> int:
        """Channels of a widened pixel of one group."""
        return self.widen.depth if self.widen else self.weights.shape[3]

    @property
    def spare_words(self) -> int:
        """Words of scratch behind the activations: read ahead, or written for a pixel that is none."""
        y = self.node.output
        return max(_AHEAD // 4, y.memory_dtype.itemsize, pixel_elements(y) if y.packed_bits else 0)


def int8_job(node: Node, kind: str = "dsp") -> Job:
    """What the job of an int8 layer in TFLite's scheme is; with the addition that may be joined to it.

    Args:
        node: the layer.
        kind: the last part of the name of the C function.
    """
    ending = epilogue(_convolution(node), axis=0)
    assert ending is not None
    context = {
        "source": "input",
        "spread": "tg_spread",
        "spread_extra": "",
        "fill": node.input(0).zero_point,
        "y_type": "int8_t",
        "packed_output": False,
        "y_bits": 0,
        "y_step": node.output.shape[3],
        "unsigned_bits": 0,
        **_residual(node),
    }
    return Job(node, ending, node.constant(1), context, f"{node.op.KIND}_s8_{kind}")


def _convolution(node: Node) -> Node:
    """Without the addition."""
    return node.op.convolution(node) if isinstance(node.op, Conv2DAdd) else node


def takes_int8(node: Node) -> bool:
    """Whether it is a layer for `int8_job`, of one group."""
    return _takes_groups(node) and isinstance(node.op, Conv2D) and node.op.groups(node) == 1


def _takes_groups(node: Node) -> bool:
    op = node.op
    assert isinstance(op, Conv2D)
    if node.output.dtype != np.int8 or not node.input(1).is_constant:
        return False
    return op.rounding is Rounding.TWICE or epilogue(_convolution(node), axis=0) is not None


def _context(job: Job, taps: int) -> dict[str, Any]:
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    fill = job.context["fill"] if rows.padded or columns.padded else 0
    return {
        **window_context(node, geometry),
        **job.ending.context,
        **{key: value for key, value in job.context.items() if key != "fill"},
        "taps": taps,
        "depth": job.depth,
        "groups": job.groups,
        "filters": len(job.weights) // job.groups,
        "widen": job.widen.context if job.widen else None,
        "pixel": pixel_elements(node.input(0)),
        "span_h": (rows.kernel - 1) * rows.dilation + 1,
        "input_zero": fill,
    }


def by_pixels(job: Job) -> Job:
    """The job with its activations widened pixel by pixel."""
    found = widening(job.node.input(0), job.groups, job.context["fill"])
    return replace(job, widen=found, headers=(*job.headers, "tinygen_codes.h", "tinygen_widen.h"))


def _ending(job: Job, padding: int) -> Epilogue:
    """The job's. What fills up the channels of codes with a zero point is multiplied with weights that are none.

    Args:
        padding: the sum of those weights, of each filter.
    """
    if not padding or not job.context["fill"]:
        return job.ending
    rows = job.ending.rows.copy()
    rows[:, 0] -= job.context["fill"] * padding * job.ending.context["unit"]
    return job.ending.with_rows(rows)


def _residual(node: Node) -> dict[str, Any]:
    """Template values of an addition to what the convolution gives."""
    linear = added_sum(node)
    return {"residual": linear.context() if linear else None}


def added_sum(node: Node) -> LinearSum | None:
    if not isinstance(node.op, Conv2DAdd):
        return None
    linear = fit_sum(node.op.addition(node))
    assert linear is not None
    return linear


def operands(node: Node) -> tuple[tuple[str, int], ...]:
    return (("input", 0), ("residual", 3)) if isinstance(node.op, Conv2DAdd) else (("input", 0),)


def inplace(node: Node, pointwise: bool) -> tuple[tuple[int, int], ...]:
    """The output may lie on what is added to it; and on the input, where a pixel needs no other pixel's."""
    fits = pointwise and node.output.shape[3] <= node.input(0).shape[3] and node.output.shape[0] == 1
    return (((3, 0),) if isinstance(node.op, Conv2DAdd) else ()) + (((0, 0),) if fits else ())


@dataclass(frozen=True, eq=False)
class _Packed:
    """Constants of a job, its weights packed four filters at a time.

    Attributes:
        constants: arrays.
        context: template values.
        filters, taps: after padding; filters of all groups.
        scratch_words: of one block widened, and of a table for that.
        spread: instructions per weight that is widened.
    """

    constants: tuple[Constant, ...]
    context: dict[str, Any]
    filters: int
    taps: int
    scratch_words: int
    spread: float = _SPREAD


def _packed(job: Job) -> _Packed:
    code = job.code
    linear = added_sum(job.node)
    more = (*(linear.constants() if linear else ()), *(job.widen.constants if job.widen else ()))
    if isinstance(code, NestedCode):
        return _packed_nested(job, code, (job.ending.constant(), *more))
    rows = _rows_of_groups(job, job.weights if code is None else code.codes(job.weights))
    ordered = pack_dot_blocks(rows)
    filters, taps = ordered.shape
    if code is None:
        layout = f"{list(ordered.shape)}, four filters pair by pair of taps"
        context = {"code": None, "spread_words": 2 * taps, "clear": False}
        constants = (Constant("weights", ordered.reshape(-1), layout), job.ending.constant(), *more)
        return _Packed(constants, context, filters, taps, 2 * taps)
    blocks = pack_blocks(code, ordered.reshape(filters // 4, -1).view(np.uint8))
    layout = f"{list(ordered.shape)} codes of {code.bits} bits, four filters pair by pair of taps"
    scales, scaling, cycles = _kernel_scales(job)
    padding = 0 if scales else (rows.shape[1] - job.weights[0].size) * code.of_zero if job.widen else 0
    return _Packed(
        (
            Constant("weights", blocks.words.reshape(-1), layout),
            *code.constants(),
            *scales,
            _ending(job, padding).constant(),
            *more,
        ),
        # No code need be that of zero: what fills up the taps is multiplied with activations that are.
        {"code": blocks.context(code) | scaling, "spread_words": blocks.spread_words, "clear": taps > rows.shape[1]},
        filters,
        taps,
        blocks.spread_words + code.table_bytes // 4,
        code.spread_cycles + cycles,
    )


def _rows_of_groups(job: Job, weights: np.ndarray) -> np.ndarray:
    """Weights or codes [O, KH, KW, I] as rows; groups have whole blocks of four, channels fill the depth."""
    filters, *window, channels = weights.shape
    each = filters // job.groups
    wanted = filters if job.groups == 1 else job.groups * whole_words(each)
    padded = np.zeros((job.groups, wanted // job.groups, *window, job.depth), weights.dtype)
    padded[:, :each, ..., :channels] = weights.reshape(job.groups, each, *window, channels)
    # Bytes, whatever they mean: pack_dot_blocks() only moves them.
    return padded.reshape(wanted, -1).astype(np.uint8 if weights.dtype == np.uint8 else np.int8)


def _packed_nested(job: Job, code: NestedCode, others: tuple[Constant, ...]) -> _Packed:
    """With all codes of the widest layer that shares them, so that all of these layers have equal arrays."""
    parent = code.parent.reshape(len(code.parent), -1)
    ordered = pack_dot_blocks(parent.view(np.int8))
    filters, size = len(job.weights), job.weights[0].size
    taps = whole_words(size)
    layout = f"{list(parent.shape)} codes of 8 bits, four filters pair by pair of taps"
    words = np.ascontiguousarray(ordered).reshape(-1).view("<u4").astype(np.uint32)
    return _Packed(
        (Constant("weights", words, layout), *code.constants(), *others),
        {"code": code.context(job.weights.shape), "spread_words": 2 * taps, "clear": taps > size},
        whole_words(filters),
        taps,
        2 * taps,
        code.spread_cycles,
    )


_SCALING = 2.8
"""Instructions per weight that is multiplied with its kernel's scale."""


def _kernel_scales(job: Job) -> tuple[tuple[Constant, ...], dict[str, Any], float]:
    """(scales in the order of unpacked weights, template values, instructions per weight)."""
    if job.kernel_scales is None:
        return (), {"scale_type": ""}, 0.0
    groups, channels = job.groups, job.depth
    dtype = np.uint8 if job.kernel_scales.max() <= 255 else np.uint16
    filters = len(job.kernel_scales) // groups
    apart = np.zeros((groups, whole_words(filters), channels), dtype)
    apart[:, :filters, : job.weights.shape[3]] = job.kernel_scales.reshape(groups, filters, -1)
    padded = apart.reshape(-1, channels)
    # Pairs are channels 0 and 2, then 1 and 3 of each four, of one filter after the other.
    ordered = padded.reshape(-1, 4, channels // 4, 2, 2).transpose(0, 2, 4, 1, 3)
    window = job.weights.shape[1] * job.weights.shape[2]
    context = {"scale_type": ctype(np.dtype(dtype)), "scaled_words": 2 * channels, "window": window}
    layout = f"{list(padded.shape)} per kernel, in the order of the weights"
    return (Constant("scales", ordered.reshape(-1), layout),), context, _SCALING


def _blocks(total: int) -> list[int]:
    return sorted({min(size, total) for size in _BLOCKS})


@kernel(Conv2DAdd, name="conv_2d_add_s8_dsp_rows", family="tinygen", isa="dsp")
@kernel(Conv2D, name="conv_2d_s8_dsp_rows", family="tinygen", isa="dsp")
def conv_2d_s8_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows: for windows of several pixels."""
    job = rows_job(int8_job(node)) if _takes_groups(node) else None
    return rows_plans(job) if job else ()


@kernel(Conv2DAdd, name="conv_2d_add_s8_packed_dsp_rows", family="tinygen", isa="dsp")
@kernel(Conv2D, name="conv_2d_s8_packed_dsp_rows", family="tinygen", isa="dsp")
def conv_2d_s8_packed_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits."""
    job = rows_job(packed_job(int8_job(node))) if _takes_groups(node) else None
    return rows_plans(job) if job else ()


def packed_job(job: Job | None) -> Job | None:
    """The job with its weights in a code of less than 8 bits; None where they do not fit any."""
    code = find_any_code(job.weights) if job else None
    if job is None or code is None:
        return None
    return replace(job, code=code, stem=f"{job.stem}_{code.name}", headers=(coded_weights.HEADER, *job.headers))


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
    """The job for `rows_plans`; None where windows are none of rows."""
    if job is None or not _reaches(job.node):
        return None
    return job if _in_words(job.node) else by_pixels(job)


def windows_job(job: Job | None, *, codes: bool = True) -> Job | None:
    """The job for `windows_plans`.

    Args:
        codes: there is a code to fill up windows with, where they are copied as they lie.
    """
    if job is None:
        return None
    # Scales are those of whole words of channels.
    scaled = job.kernel_scales is not None and job.weights.shape[3] % 4 > 0
    as_bytes = codes and not scaled and job.groups == 1 and not needs_widening(job.node.input(0))
    return job if as_bytes else by_pixels(job)


def rows_plans(job: Job) -> Sequence[KernelPlan]:
    """Plans for a job of `rows_job`."""
    packed = _packed(job)
    rows, _ = job.op.geometry(job.node)
    return [_rows_plan(job, size, packed) for size in _blocks(rows.output)]


def _rows_plan(job: Job, size: int, packed: _Packed) -> KernelPlan:
    """The plan that widens the input of `size` output rows at a time."""
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    filters, taps = packed.filters, packed.taps
    depth = job.depth
    width = (columns.output - 1) * columns.stride + columns.kernel
    context = _context(job, taps)
    buffer_rows = (size - 1) * rows.stride + context["span_h"]
    # The second pixel of the last pair of an odd row lies behind the buffer's end.
    slack = (columns.stride * depth // 2 if columns.output % 2 else 0) + _AHEAD // 4
    pitch = width * depth // 2
    blocks = -(-rows.output // size)
    pairs = rows.output * -(-columns.output // 2)
    per_pixel = job.widen.cycles if job.widen else depth * _SPREAD
    return KernelPlan(
        template="conv_2d/conv_2d_s8_dsp_rows.c.j2",
        stem=window_stem(job.stem, geometry),
        context=context
        | packed.context
        | {
            "rows": size,
            "buffer_rows": buffer_rows,
            "pitch": pitch,
            "slack": slack,
            "pairs_w": -(-columns.output // 2),
            "copied": min(columns.input, width - columns.before),
        },
        constants=packed.constants,
        operands=operands(node),
        inplace=inplace(node, False),
        scratch_bytes=4 * (packed.scratch_words + buffer_rows * pitch + slack + job.spare_words),
        headers=job.headers,
        cycles=node.output.shape[0]
        * (
            blocks * (buffer_rows * width * job.groups * per_pixel + filters * taps * packed.spread)
            + 2 * pairs * filters * (taps * _MAC + rows.kernel * 1.5 + _OUTPUT)
        ),
    )


@kernel(Conv2DAdd, name="conv_2d_add_s8_dsp", family="tinygen", isa="dsp")
@kernel(Conv2D, name="conv_2d_s8_dsp", family="tinygen", isa="dsp")
def conv_2d_s8_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch (im2col): any shape; pointwise ones straight from the activations."""
    job = windows_job(int8_job(node)) if _takes_groups(node) else None
    return windows_plans(job) if job else ()


@kernel(Conv2DAdd, name="conv_2d_add_s8_packed_dsp", family="tinygen", isa="dsp")
@kernel(Conv2D, name="conv_2d_s8_packed_dsp", family="tinygen", isa="dsp")
def conv_2d_s8_packed_dsp(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits."""
    job = windows_job(packed_job(int8_job(node))) if _takes_groups(node) else None
    return windows_plans(job) if job else ()


def _edges(geometry: tuple[Axis, Axis]) -> float:
    """The share of windows that reach beyond the input."""
    inside = 1.0
    for axis in geometry:
        starts = np.arange(axis.output) * axis.stride - axis.before
        inside *= float(np.mean((starts >= 0) & (starts + (axis.kernel - 1) * axis.dilation < axis.input)))
    return 1.0 - inside


def windows_plans(job: Job) -> Sequence[KernelPlan]:
    """Plans that copy windows into scratch."""
    packed = _packed(job)
    pixels = job.node.output.shape[1] * job.node.output.shape[2]
    blocks = _blocks(pixels + pixels % 2)
    return [_windows_plan(job, size, packed) for size in blocks if size % 2 == 0]


def _windows_plan(job: Job, size: int, packed: _Packed) -> KernelPlan:
    """The plan that widens `size` windows at a time, an even number."""
    node = job.node
    rows, columns = geometry = job.op.geometry(node)
    filters, taps = packed.filters, packed.taps
    depth = job.depth
    window = rows.kernel * columns.kernel
    pointwise = window * rows.stride * columns.stride == 1 and depth % 4 == 0
    # A row of a window lies in one piece; in whole words it needs no copy. Long ones of other sizes are rare.
    whole_rows = columns.dilation == 1 and (columns.kernel * depth % 4 == 0 or columns.kernel * depth <= 64)
    segment = columns.kernel * depth if whole_rows and columns.kernel * depth % 4 == 0 else 0
    gathers = not job.widen and not pointwise and (rows.padded or columns.padded or not segment)
    filling = _SPREAD if pointwise or segment else _COPY if whole_rows else _GATHER
    if not (pointwise or segment):
        filling += _edges(geometry) * max(_EDGE - filling, 0.0)
    if job.widen:
        filling = job.groups * job.widen.cycles / depth
    pixels = node.output.shape[1] * node.output.shape[2]
    return KernelPlan(
        template="conv_2d/conv_2d_s8_dsp.c.j2",
        stem=window_stem(job.stem, geometry),
        context=_context(job, taps)
        | packed.context
        | {
            "pixels": size,
            "odd": pixels % 2 == 1,
            "pointwise": pointwise,
            "segment": segment,
            "whole_rows": whole_rows,
            "gathers": gathers,
            "spare_words": job.spare_words,
        },
        constants=packed.constants,
        operands=operands(node),
        scratch_bytes=4 * packed.scratch_words + 2 * taps * size + 4 * job.spare_words + (taps if gathers else 0),
        inplace=inplace(node, pointwise and job.groups == 1 and not job.widen),
        headers=job.headers,
        cycles=node.output.shape[0]
        * (
            pixels * (taps * filling + filters * (taps * _MAC + _OUTPUT))
            + -(-pixels // size) * filters * taps * packed.spread
        ),
    )
