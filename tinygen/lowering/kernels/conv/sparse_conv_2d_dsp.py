"""Convolutions with mostly zero kernels, for Armv7E-M: per filter a list of live units, int16 planes in scratch.

Pruning of kernels leaves whole H x W kernels of an (output, input) pair zero (Ganesh 2022, MINT and SNACS). Here a
unit of weights is such a kernel; with a 1x1 window it is a single weight, or those of two or four neighbouring
channels. Activations lie in planes, one per unit's channels, in words of two that one SMLAD multiplies: the taps of two
rows (or columns) of the window, two channels, or, for single weights, two pixels. So the taps of one kernel are close
together, and each loaded word is used for several pixels and all taps of a row. Filters without zeros simply have all
units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.window import Axis
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.conv.conv_2d_dsp import inplace
from tinygen.lowering.kernels.conv.jobs import plain_job
from tinygen.lowering.kernels.conv.live_units import Loop, fits, loop, products
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.loops.dot_job import Job, added_sum, operands
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_dot.h", "tinygen_math.h", "tinygen_planes.h", "tinygen_simd.h")
_BLOCKS = (1, 2, 4, 8, 16, 32)
_REACH = 1023
"""Words behind a pointer that LDR reaches."""
_PIXELS = range(1, 9)
_WIDE = 16
"""Pixels in a row, from which on the last ones that are computed for nothing hardly count."""


@dataclass(frozen=True)
class Costs:
    """Cycles, fitted to those of six layers with 0 to 94 % of zeros and two compilers: none is off by more than 11 %.

    Attributes:
        dual: whether the core issues two instructions at once.
        product, load: each, in the loop.
        unit: of the loop, per unit.
        tile: a call, sums and what is around them; `output`: to finish one.
        record: a word of a unit made ready, once per filter and block of rows.
        plane, border: a word of activations, where all lie in the input and where some do not; `pixel`: the way there.
        scale: of all these in the plans' predictions, so that they stand beside those of the multiplying kernels,
            which are a Cortex-M7's.
    """

    dual: bool
    product: float
    load: float
    unit: float
    tile: float
    output: float
    record: float
    plane: float
    border: float
    pixel: float
    scale: float


_DUAL = Costs(True, 0.95, 0.0, 6.2, 26.0, 7.0, 3.3, 3.5, 3.9, 62.0, 0.87)
_SINGLE = Costs(False, 0.84, 1.67, 8.7, 2.0, 13.7, 4.9, 9.4, 10.6, 8.0, 0.43)


@kernel(Conv2D, Conv2DAdd, name="conv_2d_sparse_dual", family="tinygen", isa="dual-issue", is_sparse=True)
def conv_2d_sparse_dual(node: Node) -> Sequence[KernelPlan]:
    """For Cortex-M7: loads between products."""
    return _plans(plain_job(node), _DUAL)


@kernel(Conv2D, Conv2DAdd, name="conv_2d_sparse_dsp", family="tinygen", isa="dsp", unless="dual-issue", is_sparse=True)
def conv_2d_sparse_dsp(node: Node) -> Sequence[KernelPlan]:
    """For cores that issue one instruction at a time."""
    return _plans(plain_job(node), _SINGLE)


@dataclass(frozen=True)
class _Units:
    """The units that a layer's weights are divided into, and their words of activations.

    Attributes:
        words: per word of a unit the row and the column of the window it begins at.
        taps: per word the places of one or two weights in the unit, in the order in which they are stored.
        beside: rows and columns from the lower to the upper half of a word; None for two channels.
        channels: of a unit.
        halves: a word holds two pixels.
    """

    words: tuple[tuple[int, int], ...]
    taps: tuple[tuple[int, ...], ...]
    beside: tuple[int, int] | None
    channels: int
    halves: bool = False

    @property
    def weights(self) -> int:
        return sum(map(len, self.taps))

    @property
    def together(self) -> int:
        """Words of one pixel that lie side by side."""
        return max(self.channels // 2, 1)


def _units(rows: Axis, columns: Axis) -> list[_Units]:
    """The ways to divide a window's weights into units."""
    kernel = (rows.kernel, columns.kernel)
    if kernel == (1, 1):
        pair = ((0,),)
        return [
            _Units(((0, 0),), pair, (0, columns.stride), 1, halves=True),
            _Units(((0, 0),), ((0, 1),), None, 2),
            _Units(((0, 0), (0, 0)), ((0, 1), (2, 3)), None, 4),
        ]
    along = 0 if -(-kernel[0] // 2) * kernel[1] <= kernel[0] * -(-kernel[1] // 2) else 1
    words, taps = [], []
    for y in range(0, kernel[0], 2 if along == 0 else 1):
        for x in range(0, kernel[1], 2 if along == 1 else 1):
            place, upper = (y, x), (y + 1, x) if along == 0 else (y, x + 1)
            inside = upper[0] < kernel[0] and upper[1] < kernel[1]
            words.append((y * rows.dilation, x * columns.dilation))
            taps.append(tuple(a * kernel[1] + b for a, b in ((place, upper) if inside else (place,))))
    beside = (rows.dilation, 0) if along == 0 else (0, columns.dilation)
    return [_Units(tuple(words), tuple(taps), beside, 1)]


@dataclass(frozen=True, eq=False)
class _Packed:
    """Live units of all filters.

    Attributes:
        units: how the weights are cut.
        planes: of activations, one per unit's channels.
        counts: units per filter, one at least.
        gaps: planes from one live unit to the next, filter by filter.
        weights: int8, unit by unit.
    """

    units: _Units
    planes: int
    counts: np.ndarray
    gaps: np.ndarray
    weights: np.ndarray

    @property
    def plane_words(self) -> int:
        """Words of activations that lie side by side in all planes together."""
        return self.planes * self.units.together

    def constants(self) -> tuple[Constant, ...]:
        return (
            Constant("counts", self.counts, "live units per filter"),
            Constant("gaps", self.gaps, "planes from one live unit to the next, filter by filter"),
            Constant("weights", self.weights, "of live units, in the order of their words"),
        )


def _packed(weights: np.ndarray, units: _Units) -> _Packed:
    """Weights [O, KH, KW, I] without units that are zero."""
    filters, depth = len(weights), weights.shape[3]
    planes = -(-depth // units.channels)
    padded = np.zeros((filters, *weights.shape[1:3], planes * units.channels), np.int8)
    padded[..., :depth] = weights
    # [filter, plane, place in the unit]: taps of the window, or channels.
    cut = padded.reshape(filters, -1, planes, units.channels).transpose(0, 2, 1, 3).reshape(filters, planes, -1)
    live = np.asarray((cut != 0).any(axis=2))
    live[:, 0] |= np.count_nonzero(live, axis=1) == 0  # loops run once at least
    where = [np.flatnonzero(row) for row in live]
    gaps = np.concatenate([np.diff(row, prepend=0) for row in where])
    counts = np.array([len(row) for row in where])
    ordered = cut[:, :, [place for word in units.taps for place in word]]
    return _Packed(units, planes, narrow(counts), narrow(gaps), ordered[live].reshape(-1).astype(np.int8))


def narrow(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)


@dataclass(frozen=True)
class _Tile:
    """The outputs that are computed at once.

    Attributes:
        shape: rows and columns of input and output: (in_h, in_w, out_h, out_w).
        rows: of the output, whose activations are prepared together.
        pixels: neighbours in a row, whose sums are in registers.
    """

    shape: tuple[int, int, int, int]
    rows: int
    pixels: int


@dataclass(frozen=True)
class _Layout:
    """The addresses of words of activations.

    Attributes:
        tile: what they are for.
        steps: rows and columns of the input from one word to the next.
        paces: words from one output row's to the next's, and from pixel to pixel.
        span: rows of words that one output row takes.
        width: words in a row, times `together`.
        tiles: in a row of the output.
    """

    tile: _Tile
    steps: tuple[int, int]
    paces: tuple[int, int]
    span: int
    width: int
    tiles: int


def _layout(job: Job, units: _Units, tile: _Tile) -> _Layout:
    rows, columns = job.op.geometry(job.node)
    stride_h = rows.stride if tile.rows > 1 else 0
    row_step = math.gcd(stride_h, *(y for y, _ in units.words)) or 1
    column_step = math.gcd(columns.stride, *(x for _, x in units.words))
    tiles = -(-tile.shape[3] // tile.pixels)
    if units.halves:
        return _Layout(tile, (rows.stride, 2 * columns.stride), (1, 1), 1, tiles * tile.pixels // 2, tiles)
    last_y, last_x = (max(word[i] for word in units.words) for i in (0, 1))
    pace = columns.stride // column_step
    width = (tiles * tile.pixels - 1) * pace + last_x // column_step + 1
    return _Layout(tile, (row_step, column_step), (stride_h // row_step, pace), last_y // row_step + 1, width, tiles)


def _shapes(job: Job) -> list[tuple[int, int, int, int]]:
    """The layer's own shape; for pointwise layers also other shapes with as many pixels."""
    rows, columns = job.op.geometry(job.node)
    own = (rows.input, columns.input, rows.output, columns.output)
    one = rows.kernel * columns.kernel * rows.stride * columns.stride == 1
    if not one or rows.padded or columns.padded:
        return [own]
    total = rows.output * columns.output
    widths = [width for width in range(1, total + 1) if total % width == 0 and width >= min(_WIDE, total)]
    return [own] if columns.output >= _WIDE else [own, *((total // w, w) * 2 for w in widths[:2])]


def _loop(units: _Units, layout: _Layout, costs: Costs) -> Loop | None:
    """None if the registers or the offsets of loads are not sufficient."""
    pitch, together = layout.width * units.together, units.together
    by_row: dict[int, list[int]] = {}
    for number, (y, x) in enumerate(units.words):
        offset = number if units.channels > 1 else 0
        word = y // layout.steps[0] * pitch + x // layout.steps[1] * together + offset
        by_row.setdefault(y, []).append(word)
    groups = products(list(by_row.values()), layout.tile.pixels, layout.paces[1] * together, halves=units.halves)
    if not fits(groups, costs.dual) or max(p.offset for group in groups for p in group) > _REACH:
        return None
    return loop(groups, dual=costs.dual)


def _plans(job: Job | None, costs: Costs) -> Sequence[KernelPlan]:
    """For each block of rows, the cheapest division of the weights and number of pixels at once."""
    if job is None:
        return ()
    found = []
    for units in _units(*job.op.geometry(job.node)):
        packed = _packed(job.weights, units)
        for size in sorted({min(block, job.node.output.shape[1]) for block in _BLOCKS}):
            plans = [
                plan
                for shape in _shapes(job)
                for pixels in _PIXELS
                if (plan := _plan(job, packed, _Tile(shape, size, pixels), costs)) is not None
            ]
            found += sorted(plans, key=lambda plan: plan.cycles)[:1]
    return found


def _plan(job: Job, packed: _Packed, tile: _Tile, costs: Costs) -> KernelPlan | None:
    in_h, in_w, out_h, out_w = tile.shape
    units, size, pixels = packed.units, tile.rows, tile.pixels
    if size > out_h or pixels > max(out_w, 2) or (units.halves and pixels % 2):
        return None
    layout = _layout(job, units, tile)
    inner = _loop(units, layout, costs)
    if inner is None:
        return None
    node = job.node
    linear = added_sum(node)
    rows, columns = geometry = job.op.geometry(node)
    buffer_rows = (size - 1) * layout.paces[0] + layout.span
    pitch = layout.width * units.together
    record_words = (int(packed.counts.max()) + 1) * inner.record
    plane = buffer_rows * pitch
    outside = _outside(layout, units, geometry)
    stored = iter(range(units.weights))
    words = [[next(stored), next(stored) if len(taps) > 1 else None] for taps in units.taps]
    context = {
        **window_context(node, geometry),
        **job.ending.context,
        **{key: value for key, value in job.context.items() if key not in ("fill", "extend", "extend_extra")},
        "in_h": in_h,
        "in_w": in_w,
        "out_h": out_h,
        "out_w": out_w,
        "rows": size,
        "pixels": pixels,
        "always": out_w % pixels or pixels,
        "tiles": layout.tiles,
        "row_step": layout.steps[0],
        "column_step": layout.steps[1],
        "row_pace": layout.paces[0],
        "span": layout.span,
        "width": layout.width,
        "pitch": pitch,
        "plane": plane,
        "planes": packed.planes,
        "together": units.together,
        "tile_words": pixels * layout.paces[1] * units.together // (1 + units.halves),
        "beside": units.beside and list(units.beside),
        "outside": outside,
        "before": list(inner.before),
        "body": list(inner.body),
        "record": inner.record,
        "registers": list(inner.names),
        "record_words": record_words,
        "unit_bytes": units.weights,
        "weight_words": words,
        "gap_type": ctype(packed.gaps.dtype),
        "kind": code_kind(job),
        "fill": job.context["fill"] if rows.padded or columns.padded else 0,
        "pairs": _pairs(units),
        "of": _unit(units),
    }
    return KernelPlan(
        template="conv/sparse_conv_2d_dsp.c.j2",
        stem=window_stem(job.stem.replace("_dsp", "_sparse"), geometry),
        context=context,
        constants=(*packed.constants(), job.ending.constant(), *(linear.constants() if linear else ())),
        operands=operands(node),
        inplace=inplace(node, rows.kernel * columns.kernel * rows.stride * columns.stride == 1),
        scratch_bytes=4 * (record_words + packed.planes * plane),
        headers=tuple(sorted({*job.headers, *_HEADERS})),
        cycles=_cycles(job, packed, layout, inner, outside, costs),
    )


def _outside(layout: _Layout, units: _Units, geometry: tuple[Axis, Axis]) -> bool:
    """Whether words reach beyond the input."""
    rows, columns = geometry
    y, x = units.beside or (0, 0)
    in_h, in_w, out_h, _ = layout.tile.shape
    bottom = (out_h - 1) * rows.stride + (layout.span - 1) * layout.steps[0] - rows.before + y
    right = (layout.width - 1) * layout.steps[1] - columns.before + x
    return bool(rows.before or columns.before or bottom >= in_h or right >= in_w)


def code_kind(job: Job) -> int:
    """The name of the kind of codes in tinygen_planes.h."""
    extra = str(job.context["extend_extra"])
    if extra:
        return int(extra.removeprefix(", "))
    return -1 if job.context["extend"] == "tg_extend_unsigned" else 0


def _pairs(units: _Units) -> str:
    if units.beside is None:
        return "each two channels of a pixel"
    return "each two pixels of a channel"


def _unit(units: _Units) -> str:
    if units.channels > 1:
        return f"{units.channels} neighbouring channels"
    return "single weights" if units.halves else "kernels of one channel"


def _cycles(job: Job, packed: _Packed, layout: _Layout, inner: Loop, outside: bool, costs: Costs) -> float:
    """Predicted cycles: units times tiles, and the preparation of each block of rows."""
    out_h = layout.tile.shape[2]
    filters, live = len(packed.counts), int(packed.counts.sum())
    blocks = -(-out_h // layout.tile.rows)
    tiles = out_h * layout.tiles
    buffer_rows = blocks * layout.span + (out_h - blocks) * layout.paces[0]
    cycles = (
        tiles * live * (inner.products * costs.product + inner.loads * costs.load + costs.unit)
        + tiles * filters * (costs.tile + layout.tile.pixels * costs.output)
        + blocks * live * inner.record * costs.record
        + buffer_rows * layout.width * (packed.plane_words * (costs.border if outside else costs.plane) + costs.pixel)
    )
    return costs.scale * job.node.output.shape[0] * cycles
