"""SLICE and STRIDED_SLICE: all masks are resolved here, to a range of indices for each input dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tflite

from tinygen.frontends.tflite.operators.shape import data_input, integers
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.movement import StridedSlice


@converts(tflite.BuiltinOperator.SLICE)
def slice_(operator: Operator) -> Op:
    shape = data_input(operator).shape
    begin, size = integers(operator, 1, "begin"), integers(operator, 2, "size")
    operator.require(len(begin) == len(size) == len(shape), f"begin {begin}, size {size}")
    count = tuple(shape[i] - begin[i] if size[i] == -1 else size[i] for i in range(len(shape)))
    return StridedSlice(
        **operator.common(keep_inputs=1),
        begin=tuple(begin),
        step=(1,) * len(shape),
        count=count,
        axes=tuple(range(len(shape))),
    )


@dataclass(frozen=True)
class _Spec:
    """The parameters of one STRIDED_SLICE, entry by entry as in `x[2:5, ..., None, 7]`."""

    operator: Operator
    begin: list[int]
    end: list[int]
    step: list[int]
    begin_mask: int
    end_mask: int
    shrink_mask: int
    new_axis_mask: int
    ellipsis_mask: int
    offset: bool

    def entries(self, rank: int) -> Iterator[int | None]:
        """The entry that applies to each dimension, in order; None if the whole dimension is taken.

        An entry for a new axis applies to no input dimension, but counts in the order.
        """
        count = len(self.begin)
        inserted = (self.new_axis_mask & ~self.ellipsis_mask).bit_count()
        missing = rank - (count - inserted)
        # LiteRT's ellipsis covers at least one dimension.
        needless = missing == -1 and self.ellipsis_mask != 0
        self.operator.require(not needless, "an ellipsis that stands for no dimension")
        self.operator.require(missing >= 0, f"{count} entries for {rank} dimensions")
        for entry in range(count):
            if self.ellipsis_mask >> entry & 1:
                yield from [None] * (missing + 1)
            else:
                yield entry
        if not self.ellipsis_mask:
            yield from [None] * missing

    def is_new_axis(self, entry: int | None) -> bool:
        return entry is not None and bool(self.new_axis_mask >> entry & 1)

    def is_single(self, entry: int | None) -> bool:
        return entry is not None and bool(self.shrink_mask >> entry & 1)

    def walk(self, entry: int | None, size: int) -> range:
        """The elements taken along a dimension of `size` elements; never empty."""
        if entry is None:
            return range(size)
        begin, end, step = self.begin[entry], self.end[entry], self.step[entry]
        if self.is_single(entry):
            first = self._single(entry, size)
            walk = range(first, first + 1)
        elif self.offset:
            # `end` counts from the first element; the operator's check refuses indices outside.
            first = begin + size if begin < 0 else begin
            walk = range(first, first + end, step)
        else:
            # TFLite's rules for negative and large indices are Python's.
            first_or_none = None if self.begin_mask >> entry & 1 else begin
            last_or_none = None if self.end_mask >> entry & 1 else end
            walk = range(size)[slice(first_or_none, last_or_none, step)]
        self.operator.require(len(walk) > 0, f"an empty result (entry {entry})")
        return walk

    def _single(self, entry: int, size: int) -> int:
        """Index of the element taken from a removed dimension: the begin mask goes first, and TFLite clamps at 0."""
        self.operator.require(self.step[entry] > 0, "a negative stride on a dimension that vanishes")
        begin = self.begin[entry]
        return 0 if self.begin_mask >> entry & 1 else max(begin + size if begin < 0 else begin, 0)


def _spec(operator: Operator) -> _Spec:
    options = operator.options(tflite.StridedSliceOptions)
    spec = _Spec(
        operator,
        begin=integers(operator, 1, "begin"),
        end=integers(operator, 2, "end"),
        step=integers(operator, 3, "strides"),
        begin_mask=options.BeginMask(),
        end_mask=options.EndMask(),
        shrink_mask=options.ShrinkAxisMask(),
        new_axis_mask=options.NewAxisMask(),
        ellipsis_mask=options.EllipsisMask(),
        offset=bool(options.Offset()),
    )
    operator.require(len(spec.begin) == len(spec.end) == len(spec.step) <= 31, f"begin {spec.begin}, end {spec.end}")
    operator.require(all(spec.step), "a stride is 0")
    reach = 1 << len(spec.begin)
    for name, mask in (("new-axis", spec.new_axis_mask), ("ellipsis", spec.ellipsis_mask)):
        operator.require(0 <= mask < reach, f"{name} mask {mask:#x} for {len(spec.begin)} entries")
    operator.require(spec.ellipsis_mask.bit_count() <= 1, "more than one ellipsis")
    plain = not (spec.begin_mask or spec.end_mask or spec.new_axis_mask or spec.ellipsis_mask)
    operator.require(plain or not spec.offset, "masks together with an end that is an offset")
    whole = len(spec.begin) == len(data_input(operator).shape)
    operator.require(whole or not spec.offset, "an end that is an offset, and not one for each dimension")
    return spec


@converts(tflite.BuiltinOperator.STRIDED_SLICE)
def strided_slice(operator: Operator) -> Op:
    spec, shape = _spec(operator), data_input(operator).shape
    walks: list[range] = []
    axes: list[int | None] = []
    for entry in spec.entries(len(shape)):
        if spec.is_new_axis(entry):
            axes.append(None)
            continue
        axis = len(walks)
        walks.append(spec.walk(entry, shape[axis]))
        if not spec.is_single(entry):
            axes.append(axis)
    return StridedSlice(
        **operator.common(keep_inputs=1),
        begin=tuple(walk.start for walk in walks),
        step=tuple(walk.step for walk in walks),
        count=tuple(len(walk) for walk in walks),
        axes=tuple(axes),
    )
