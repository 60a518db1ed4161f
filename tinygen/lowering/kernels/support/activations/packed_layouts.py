"""How a convolution is laid out in words of fields (packed_fields.py): runs of pixels, pieces of windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.ops.window import Axis
from tinygen.lowering.kernels.support.activations.packed_codes import Codes
from tinygen.lowering.kernels.support.activations.packed_fields import (
    WORD,
    Fields,
    Segments,
    Sums,
    layouts,
    pack_operands,
    packing,
    segments,
)
from tinygen.lowering.kernels.support.activations.packed_machines import Machine

_MOST_CODE = 255
"""Of weights: with larger codes, fields leave room for a single product."""
_MOST_EDGES = 8
_MOST_ODD_EDGES = 25
_LONGEST_ROW = 16384
"""Elements of a row of points: their words are all in scratch."""
_PAIRS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96)
"""Of runs in a row of points."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Weights as unsigned codes q [O, KH, KW, I]: integers are step * q + first."""

    codes: np.ndarray
    step: int
    first: int

    @property
    def largest(self) -> int:
        return int(self.codes.max(initial=1))


def weight_grid(weights: np.ndarray) -> Grid | None:
    """None for weights with too many values.

    Args:
        weights: integers [O, KH, KW, I].
    """
    values = np.unique(weights).tolist()
    step = math.gcd(*(value - values[0] for value in values)) or 1
    if (values[-1] - values[0]) // step > _MOST_CODE:
        return None
    return Grid((weights - values[0]) // step, step, values[0])


@dataclass(frozen=True)
class Grille:
    """How rows of the input are divided into runs.

    Attributes:
        width: columns, with those that fill up the last pair of runs.
        left: of them padding before the input's first column.
        copied: of them the input's.
        apart: columns of the input from one to the next.
        pairs: of runs.
        first, stride: where outputs lie among the sums of a row.
    """

    width: int
    left: int
    copied: int
    apart: int
    pairs: int
    first: int
    stride: int


def _grille(columns: Axis, fields: Fields, pieces: int, explicit: bool) -> Grille | None:
    """None if windows may lie entirely in the padding, which is rare.

    Args:
        columns: of the window.
        fields, pieces: of the layout.
        explicit: columns of padding are there as such; else they are as if their codes were 0.
    """
    if columns.kernel == 1:
        if columns.padded:
            return None
        used, left, apart = columns.output, 0, columns.stride
        leftmost, stride, copied = 0, 1, columns.output
    else:
        left, apart, stride = columns.before if explicit else 0, 1, columns.stride
        leftmost = left - columns.before
        end = leftmost + (columns.output - 1) * stride + columns.kernel
        copied = min(columns.input, end - left)
        used = end if explicit else copied
    pairs = -(-used // (2 * fields.pixels))
    width = 2 * pairs * fields.pixels
    first = leftmost + pieces * fields.taps - 1
    if first < 0 or leftmost + (columns.output - 1) * stride >= width:
        return None
    return Grille(width, left, copied, apart, pairs, first, stride)


@dataclass(frozen=True, eq=False)
class Edges:
    """Corrections of sums at outputs whose windows reach into the padding, which counts as code 0.

    Attributes:
        columns: of outputs where columns of the window do.
        rows: how many rows of outputs from the top, and how many up to the bottom, have a class of their own.
        missing: [O, classes, columns] of sums of fields; where padding is odd, of outputs, [O, classes, 1 + columns]:
            in all columns, and in those besides. Class 0 are rows whose windows have all their rows.
        odd: see `Codes`.
    """

    columns: tuple[int, ...]
    rows: tuple[int, int]
    missing: np.ndarray
    odd: bool = False


@dataclass(frozen=True, eq=False)
class Task:
    """A layer without groups or dilation.

    Attributes:
        axes: rows and columns of its window.
        weights: integers [O, KH, KW, I].
        codes, grid: of its activations and weights.
        machine: the target core.
    """

    axes: tuple[Axis, Axis]
    weights: np.ndarray
    codes: Codes
    grid: Grid
    machine: Machine

    @property
    def filters(self) -> int:
        return int(self.weights.shape[0])

    @property
    def depth(self) -> int:
        return int(self.weights.shape[3])

    @property
    def of_points(self) -> bool:
        """Whether each output is made of one pixel, and each pixel makes one: then rows may have any length."""
        return all(axis.kernel * axis.stride == 1 and not axis.padded for axis in self.axes)

    @property
    def summed(self) -> bool:
        """Whether outputs also need the sums of the activations."""
        return self.grid.first != 0

    @property
    def factor(self) -> int:
        """Of the sums of fields."""
        return self.grid.step * self.codes.scale

    def fits(self, unit: int) -> bool:
        """Whether scaled sums of codes, times `unit`, fit 32 bits, with everything that is added to them."""
        codes, first = self.codes, abs(self.grid.first)
        q = self.grid.codes.reshape(self.filters, -1)
        sums, taps = int(q.sum(axis=1).max(initial=0)), q.shape[1]
        largest = self.factor * sums + (first * codes.scale) * taps
        return largest * codes.largest * unit < 2**30

    def edges(self) -> Edges | None:
        """None if the corrections are not integers, or too many: then padding is stored.

        Padding that is not stored counts as code 0, which stands for `codes.offset`.
        """
        if self.codes.odd:
            return self._odd_edges()
        _, axis = self.axes
        sums = self.weights.sum(axis=(1, 3))
        outside = _outside(axis)
        columns = [i for i, taps in enumerate(outside) if taps.any()]
        if not columns or not self.codes.offset:
            return Edges((), (0, 0), np.zeros((len(sums), 1, 0), np.int64))
        table = np.stack([-self.codes.offset * sums[:, outside[i]].sum(axis=1) for i in columns], axis=-1)
        whole = len(columns) <= _MOST_EDGES and not (table % self.factor).any()
        return Edges(tuple(columns), (0, 0), table[:, None] // self.factor) if whole else None

    def _odd_edges(self) -> Edges | None:
        rows, columns = (_outside(axis) for axis in self.axes)
        reaching = tuple(i for i, taps in enumerate(columns) if taps.any())
        above = next((i for i, taps in enumerate(rows) if not taps.any()), None)
        if above is None:
            return None
        below = next(i for i, taps in enumerate(rows[::-1]) if not taps.any())
        if (1 + above + below) * (1 + len(reaching)) > _MOST_ODD_EDGES:
            return None
        classes = [rows[above], *rows[:above], *rows[len(rows) - below :]]
        sums = self.weights.sum(axis=3)
        missing = np.zeros((len(sums), len(classes), 1 + len(reaching)), np.int64)
        for i, taps in enumerate(classes):
            missing[:, i, 0] = sums[:, taps].sum(axis=(1, 2))
            for j, column in enumerate(reaching):
                missing[:, i, 1 + j] = sums[:, ~taps][:, :, columns[column]].sum(axis=(1, 2))
        return Edges(reaching, (above, below), -self.codes.offset * missing, odd=True)


def _outside(axis: Axis) -> list[np.ndarray]:
    """Per output position, which taps lie outside the input."""
    at = np.arange(axis.output)[:, None] * axis.stride - axis.before + np.arange(axis.kernel)
    return list((at < 0) | (at >= axis.input))


@dataclass(frozen=True, eq=False)
class Layout:
    """One way to lay out a layer.

    Attributes:
        task: the layer; one of points has its pixels in rows of another length, the last of which may be shorter.
        fields: of words and sums.
        cut: of the steps of a sum.
        pieces: number of pieces of a row of the window.
        grille: of the input's rows.
        edges: see `Task.edges`.
        operands: of weights that a step has.
        points: pixels of a layer of points; 0 for other layers.
        paired: whether the two filters of an operand are finished together.
        order: of the filters; None for the layer's own.
    """

    task: Task
    fields: Fields
    cut: Segments
    pieces: int
    grille: Grille
    edges: Edges | None
    operands: int = 2
    points: int = 0
    paired: bool = False
    order: np.ndarray | None = None

    @property
    def pairs(self) -> int:
        """Of runs, in all rows of outputs."""
        return -(-self.points // (2 * self.fields.pixels)) or self.task.axes[0].output * self.grille.pairs

    def in_rows(self) -> list[Layout]:
        """Of points: the layout in rows of several lengths, all but the last of whole pairs."""
        pair = 2 * self.fields.pixels
        found = []
        for most in {-(-self.pairs // -(-self.pairs // each)) for each in (*_PAIRS, self.pairs) if each <= self.pairs}:
            width = min(most * pair, self.points)
            if width * self.task.depth > _LONGEST_ROW and most > 1:
                continue
            task = _in_rows(self.task, -(-self.points // width), width)
            rows = replace(self.grille, width=most * pair, copied=width, pairs=most)
            found.append(replace(self, task=task, grille=rows))
        return found

    @property
    def direct(self) -> bool:
        """Whether outputs can be made straight from fields, a pair of runs at a time."""
        first, pair = self.grille.first, 2 * self.fields.pixels
        end = first + self.task.axes[1].output
        # What lies before the first output is in the first pair, and there is a whole pair of outputs. What the last
        # pair leaves over is less than one more: outputs beyond that are of windows wider than the input.
        in_pairs = first <= pair <= end < self.grille.width + pair
        return self.grille.stride == self.pieces == 1 and in_pairs

    @property
    def whole(self) -> bool:
        """Whether a sum of words, less the other fields, may stand for the lowest one."""
        total = piece_sums(self.task, self.fields.taps, self.pieces).total()
        return self.fields.apart and self.cut.segments > 1 and total < 1 << (32 - self.fields.start)

    @property
    def total_each(self) -> int:
        """Words of pixels that can be added up before their codes' sums reach over the fields: of points; else 0."""
        rows, columns = self.task.axes
        if rows.kernel * columns.kernel > 1:
            return 0
        fields = self.fields
        room = min(fields.spacing, WORD - fields.pixel_shifts()[-1])
        return min(((1 << room) - 1) // self.task.codes.largest, self.task.depth)

    def weight_bits(self) -> float:
        """Bits of flash per weight."""
        fields = self.fields
        mask = operand_mask(self.task.grid, fields)
        stored = self.cut.total * self.pieces * packing(mask).bits
        _, height, width, depth = self.task.weights.shape
        return stored / (fields.filters * height * width * depth)

    def cycles(self) -> float:
        """Predicted cycles, without preparing input rows and unpacking weights."""
        rows, columns = self.task.axes
        on, fields, cut = self.task.machine, self.fields, self.cut
        per = self.operands * fields.filters
        blocks = -(-self.task.filters // per)
        totals = 0.0
        if self.task.summed and self.total_each:
            totals = self.pairs * (2 * self.task.depth * on.step / 4 + 4 * fields.pixels)
        elif self.task.summed:
            blocks += 1
        step = on.step if self.operands == 2 else on.wide_step
        pairs = self.pairs * self.pieces
        loop = cut.parts * on.part if cut.parts > on.unrolled else 0.0
        products = pairs * (on.call + cut.segments * (step * cut.each + on.segment * self.operands / 2 + loop))
        field = on.whole if fields.apart and fields.filters == 1 else on.field
        taken = pairs * 2 * self.operands * (5.0 + fields.count * (0.5 + field * cut.segments))
        output = (on.shared if self.paired else on.output) + self.task.summed + (0 if self.direct else 4)
        outputs = self.points or rows.output * columns.output
        row = on.row / 2 if self.paired else on.row
        ends = rows.output * (row + self._joining()) + outputs * output
        return totals + blocks * (products + taken + per * ends)

    def _joining(self) -> float:
        """Cycles for the sums of a row's pieces, which are added up in memory."""
        if self.pieces == 1:
            return 0.0
        on, values = self.task.machine, self.fields.filters * self.values_of_row
        return 0.5 * (on.row * self.pieces + on.output * values)

    @property
    def values_of_row(self) -> int:
        """Sums of a row of one filter, with those that are no output's."""
        return self.grille.width + self.pieces * self.fields.taps - 1


def operand_mask(grid: Grid, fields: Fields) -> int:
    """The bits of an operand of weights that may be set."""
    bits = (1 << grid.largest.bit_length()) - 1
    return sum(bits << shift for shift in fields.weight_shifts())


def operands(grid: Grid, fields: Fields, pieces: int, each: int) -> np.ndarray:
    """Codes [blocks, `each` operands, filters of each, pieces, steps, taps]; zeros where there are none."""
    filters, height, width, depth = grid.codes.shape
    per = each * fields.filters
    blocks = -(-filters // per)
    padded = np.zeros((blocks * per, height, pieces * fields.taps, depth), np.int64)
    padded[:filters, :, :width] = grid.codes
    split = padded.reshape(blocks, each, fields.filters, height, pieces, fields.taps, depth)
    return split.transpose(0, 1, 2, 4, 3, 6, 5).reshape(
        blocks, each, fields.filters, pieces, height * depth, fields.taps
    )


def pack_weights(layout: Layout) -> tuple[np.ndarray, int]:
    """Words of packed operands [blocks, pieces, words], and the mask of an operand."""
    grid, fields, cut = layout.task.grid, layout.fields, layout.cut
    if layout.order is not None:
        grid = replace(grid, codes=grid.codes[layout.order])
    codes = operands(grid, fields, layout.pieces, layout.operands)
    shifts = np.array(fields.weight_shifts(), np.int64)
    if fields.taps > 1:
        words = (codes << shifts).sum(axis=(2, 5))
    else:
        words = (codes[..., 0] << shifts.reshape(1, 1, -1, 1, 1)).sum(axis=2)
    blocks, _, pieces, steps = words.shape
    ordered = np.zeros((blocks, pieces, cut.total, layout.operands), np.uint32)
    ordered[:, :, :steps] = words.transpose(0, 2, 3, 1)
    mask = operand_mask(grid, fields)
    return pack_operands(ordered.reshape(blocks * pieces, -1), mask).reshape(blocks, pieces, -1), mask


def piece_sums(task: Task, taps: int, pieces: int) -> Sums:
    """Of all filters, and of the one whose weights are all 1, which gives the sums of the activations."""
    codes = operands(task.grid, Fields(1, taps, 1, 1, 0, 0), pieces, 2)
    flat = codes.reshape(-1, *codes.shape[-2:])
    return Sums(np.concatenate([flat, np.ones_like(flat[:1])]), task.codes.largest)


def all_layouts(task: Task, least: int = 2) -> Iterator[Layout]:
    """All possible layouts, each with as few segments as its weights allow.

    Args:
        least: products of codes that one multiplication must make.
    """
    cuts = _cuts(task, least)
    points = task.axes[0].output * task.axes[1].output if task.of_points else 0
    form = _in_rows(task, 1, points) if points else task
    edges = form.edges() if cuts else None
    if task.codes.odd and edges is None:
        return
    for fields, cut, pieces in cuts:
        grille = _grille(form.axes[1], fields, pieces, edges is None)
        if grille is not None:
            for each in form.machine.operands:
                yield Layout(form, fields, cut, pieces, grille, edges, each, points)


def _cuts(task: Task, least: int) -> list[tuple[Fields, Segments, int]]:
    """Fields that hold the sums of the layer, how its steps are cut, and into how many pieces a row of the window."""
    found = []
    for pieces, taps in _pieces(task.axes[1].kernel):
        every = layouts(task.codes.largest, task.grid.largest, taps, task.machine.product)
        # Few layers of 8 bits get past this, and sums take far longer.
        able = [one for one in every if one.macs >= least and (one.apart or task.machine.crosses)]
        if able:
            sums = piece_sums(task, taps, pieces)
            found += [(one, cut, pieces) for one in able if (cut := segments(sums, one)) is not None]
    return found


def _in_rows(task: Task, height: int, width: int) -> Task:
    """A layer of points with its pixels in other rows."""
    rows, columns = task.axes
    rows, columns = replace(rows, input=height, output=height), replace(columns, input=width, output=width)
    return replace(task, axes=(rows, columns))


def _pieces(kernel: int) -> list[tuple[int, int]]:
    """(pieces, taps of each) of a row of the window."""
    found = [(pieces, -(-kernel // pieces)) for pieces in range(1, kernel + 1)]
    return [(pieces, taps) for pieces, taps in found if taps * (pieces - 1) < kernel]
