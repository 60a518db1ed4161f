"""APSQ (Guerra 2024, section 6.3) of four pixels at once: tables of sums, one multiplication by each kernel's scale.

Weights of few values have few combinations: for four pixels, two of them in a word, the sums of a few taps of a channel
are made with all of them, each by one addition to the one before (a Gray code). All filters use the same sums: a kernel
is one byte for each of its tables, the entry's index, and its scale. `shift_add` has the same method for any core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.packed_codes import (
    Codes,
    activation_codes,
    line_context,
    stored_offset,
    value_constants,
)
from tinygen.lowering.kernels.support.activations.packed_layouts import Grid, weight_grid
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_fields.h", "tinygen_math.h", "tinygen_simd.h")
_PIXELS = 4
_MOST_ENTRIES = 32
"""Of a table: their places, 8 bytes each, are told by one byte."""
_HALF = 2**15 - 1
_CHANNELS = (8, 16, 64, 256)
"""Whose tables are there at once: with more, sums are loaded and stored less often."""


@dataclass(frozen=True)
class _Costs:
    """Costs on a core, in cycles.

    Attributes:
        two_tables: a kernel of two tables.
        kernel, table: else a kernel, and each of its tables.
        entry: of a table, of four pixels.
        sums: those of a filter, loaded and stored.
        pair: two codes put in a word.
        output: one.
    """

    two_tables: float
    kernel: float
    table: float
    entry: float
    sums: float
    pair: float
    output: float


_M7 = _Costs(two_tables=8.5, kernel=6, table=6, entry=3.3, sums=14, pair=6, output=12)
_RV32 = _Costs(two_tables=32, kernel=40, table=12, entry=6, sums=30, pair=9, output=20)
_ARMV6M = _Costs(two_tables=38, kernel=60, table=20, entry=7, sums=40, pair=9, output=30)  # in the unit of `shift_add`


@dataclass(frozen=True, eq=False)
class _Work:
    """A layer whose kernels are read from tables.

    Attributes:
        axes: rows and columns of its window.
        scales: [O, I].
        values: how many different weights there are.
        sizes: taps of each table.
        bias: what is added to sums, so that none is negative.
    """

    axes: tuple[Axis, Axis]
    layer: IntegerLayer
    codes: Codes
    grid: Grid
    scales: np.ndarray
    values: int
    sizes: tuple[int, ...]
    bias: int

    @property
    def entries(self) -> list[int]:
        return [self.values**size for size in self.sizes]

    @property
    def words(self) -> int:
        """Of a kernel: a byte for each table, and the scale."""
        return -(-(len(self.sizes) + 2) // 4)

    @property
    def steps_of(self) -> int:
        """Kernels per iteration of the loop; one if there is no loop for this number of tables."""
        return 2 if len(self.sizes) == 2 else 1


def _whole(count: int, of: int) -> int:
    return -(-count // of) * of


def _work(node: Node) -> _Work | None:
    op = node.op
    assert isinstance(op, Conv2D)
    scales = integer_mac.kernel_scales(node)
    if scales is None or op.groups(node) > 1 or scales.max(initial=0) > _HALF:
        return None
    rows, columns = axes = op.geometry(node)
    layer = integer_layer(node, scaled=True, reads="any")
    codes = activation_codes(node.input(0), padded=rows.padded or columns.padded)
    grid = weight_grid(layer.weights) if layer else None
    if layer is None or codes is None or grid is None or rows.dilation * columns.dilation > 1:
        return None
    sizes = _sizes(grid.largest + 1, rows.kernel * columns.kernel)
    bias = _bias(layer.weights * codes.scale, codes.largest, scales)
    return None if bias is None else _Work(axes, layer, codes, grid, scales, grid.largest + 1, sizes, bias)


def _sizes(values: int, taps: int) -> tuple[int, ...]:
    """Taps of each table, as equal as possible."""
    most = max([size for size in range(1, 6) if values**size <= _MOST_ENTRIES], default=1)
    count = -(-taps // most)
    return tuple(taps // count + (i < taps % count) for i in range(count))


def _bias(weights: np.ndarray, largest: int, scales: np.ndarray) -> int | None:
    """The bias that makes sums of kernels non-negative; None if these do not fit 16 bits, or 32 bits after scaling.

    Args:
        weights: integers [O, KH, KW, I].
        largest: code of the activations.
        scales: [O, I].
    """
    down = int(np.maximum(-weights, 0).sum(axis=(1, 2)).max(initial=0)) * largest
    up = int(np.maximum(weights, 0).sum(axis=(1, 2)).max(initial=0)) * largest
    largest_sum = int(scales.astype(np.int64).sum(axis=1).max(initial=0)) * (down + up)
    return down if down + up <= _HALF and largest_sum < 2**30 else None


@kernel(Conv2D, of="codes", name="conv_2d_kernel_scales_dsp", family="tinygen", isa="dsp")
def conv_2d_kernel_scales_dsp(node: Node) -> Sequence[KernelPlan]:
    """APSQ: four pixels at once, additions within a kernel, one multiplication by its scale behind them."""
    work = _work(node)
    return _plans(node, work, _M7) if work and work.values <= _MOST_ENTRIES else ()


@kernel(Conv2D, of="codes", name="conv_2d_kernel_scales_rv32", family="tinygen", isa="rv32")
def conv_2d_kernel_scales_rv32(node: Node) -> Sequence[KernelPlan]:
    """The same where kernels have two tables: words are multiplied whole, and upper halves."""
    return _of_words(node, _RV32)


@kernel(Conv2D, of="codes", name="conv_2d_kernel_scales_armv6m", family="tinygen", isa="armv6m")
def conv_2d_kernel_scales_armv6m(node: Node) -> Sequence[KernelPlan]:
    """The same on Armv6-M."""
    return _of_words(node, _ARMV6M)


def _of_words(node: Node, costs: _Costs) -> Sequence[KernelPlan]:
    work = _work(node)
    return _plans(node, work, costs) if work and len(work.sizes) == 2 else ()


def _plans(node: Node, work: _Work, costs: _Costs) -> Sequence[KernelPlan]:
    depth = node.input(0).shape[3]
    shares = sorted({-(-depth // -(-depth // most)) for most in _CHANNELS})
    return [_plan(node, work, costs, share) for share in shares]


def _plan(node: Node, work: _Work, on: _Costs, share: int) -> KernelPlan:
    """The plan that makes tables of `share` channels at a time."""
    rows, columns = work.axes
    filters, depth = work.scales.shape
    quads = -(-columns.output // _PIXELS)
    wide = (quads * _PIXELS - 1) * columns.stride + columns.kernel
    line = (wide + columns.stride) * depth
    tables = 2 * _whole(share, work.steps_of) * sum(work.entries)
    ending = work.layer.epilogue.with_rows(_biases(node, work))
    times = node.output.shape[0] * rows.output
    made = depth * sum(work.entries) * on.entry
    each = on.two_tables if len(work.sizes) == 2 else on.kernel + on.table * len(work.sizes)
    picked = filters * (depth * each + -(-depth // share) * on.sums + _PIXELS * on.output)
    return KernelPlan(
        template="conv/kernel_scales.c.j2",
        stem=window_stem(f"conv_2d_kernel_scales_{kind_of(node.input(1).integer)}", work.axes),
        context={
            **window_context(node, work.axes),
            **ending.context,
            **{key: work.layer.context[key] for key in ("y_type", "packed_output", "y_bits", "y_step")},
            **line_context(node.input(0), work.codes),
            "moved": work.codes.moved,
            "padding": work.codes.padding,
            "fill": work.codes.padding - work.codes.moved,
            "padded_rows": rows.padded,
            "left": columns.before,
            "copied": min(columns.input, wide + columns.stride - columns.before),
            "columns": wide,
            "line_elements": line,
            "values": work.values,
            "bias": work.bias,
            "step": work.grid.step * work.codes.scale,
            "least": (work.grid.first * work.codes.scale) % 2**32,
            "groups": _groups(work, columns.kernel),
            "kernel_words": work.words,
            "steps_of": work.steps_of,
            "share": share,
            "table_words": tables,
        },
        constants=(_weights(work, share), ending.constant(), *value_constants(work.codes)),
        scratch_bytes=4 * (rows.kernel * wide * depth + tables + _PIXELS * filters) + line,
        headers=_HEADERS,
        cycles=times * (rows.stride * wide * depth * on.pair + quads * (made + picked)),
    )


def _biases(node: Node, work: _Work) -> np.ndarray:
    """Rows of constants whose biases include the offset of codes and subtract the tables' bias.

    They have the zero point's share of their own, of codes as they are stored.
    """
    offset = stored_offset(node.input(0), work.codes)
    scaled = integer_mac.scaled_weights(node, work.layer.weights).reshape(len(work.scales), -1).sum(axis=1)
    rows = work.layer.epilogue.rows.copy()
    rows[:, 0] += offset * scaled - work.bias * work.scales.astype(np.int64).sum(axis=1)
    return rows


def _groups(work: _Work, width: int) -> list[dict[str, Any]]:
    """Per table: where it begins, its taps (row, column), and how each entry comes of the one before.

    Args:
        width: of the window.
    """
    found, at, tap = [], 0, 0
    for size, entries in zip(work.sizes, work.entries, strict=True):
        taps = [divmod(tap + i, width) for i in range(size)]
        changes = _changes(work.values, size)
        found.append({"at": at, "size": size, "entries": entries, "taps": taps, "changes": changes})
        at, tap = at + entries, tap + size
    return found


def _changes(values: int, size: int) -> list[dict[str, Any]]:
    """A reflected Gray code of `size` digits, the first one fastest: the digit that moves, its way, the number then."""
    digits, ways = [0] * size, [1] * size
    found: list[dict[str, Any]] = []
    while True:
        tap = next((i for i in range(size) if 0 <= digits[i] + ways[i] < values), None)
        if tap is None:
            return found
        digits[tap] += ways[tap]
        ways[:tap] = [-way for way in ways[:tap]]
        entry = sum(digit * values**i for i, digit in enumerate(digits))
        found.append({"tap": tap, "sign": "+" if ways[tap] > 0 else "-", "entry": entry})


def _weights(work: _Work, share: int) -> Constant:
    """Words [chunks of channels, filters, channels of the chunk, words of a kernel]."""
    filters, depth = work.scales.shape
    digits = work.grid.codes.reshape(filters, -1, depth).transpose(0, 2, 1)
    octets = np.zeros((filters, depth, 4 * work.words), np.uint8)
    first = 0
    for place, size in enumerate(work.sizes):
        powers = work.values ** np.arange(size)
        octets[:, :, place] = 8 * (digits[:, :, first : first + size] * powers).sum(axis=2)
        first += size
    octets[:, :, -2:] = work.scales.astype("<u2").reshape(filters, depth, 1).view(np.uint8)
    words = octets.view("<u4")
    chunks = [_filled_up(words[:, start : start + share], work.steps_of) for start in range(0, depth, share)]
    layout = f"{len(work.sizes)} places in tables and a scale per kernel, {share} channels of every filter at a time"
    return Constant("weights", np.concatenate([*chunks, np.zeros(1)]).astype(np.uint32), layout)  # one is read ahead


def _filled_up(words: np.ndarray, of: int) -> np.ndarray:
    """Words [filters, channels, words], flat, with kernels of scale 0 up to a multiple of `of`."""
    channels = words.shape[1]
    return np.pad(words, ((0, 0), (0, _whole(channels, of) - channels), (0, 0))).reshape(-1)
