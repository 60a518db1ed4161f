"""Operators that move elements without changing them: slices, transposition, broadcasting, split and unpack.

All of them are views: each output is the input walked with other strides (`View`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True)
class View:
    """An output as a walk over the input.

    Attributes:
        shape: of the output.
        strides: input elements to step per output dimension; may be negative.
        base: input element that becomes output element 0.
    """

    shape: Shape
    strides: tuple[int, ...]
    base: int

    def take(self, x: np.ndarray) -> np.ndarray:
        """The output's elements."""
        index = np.full((1,) * len(self.shape), self.base, np.int64)
        for axis, (size, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            steps = np.arange(size, dtype=np.int64) * stride
            index = index + steps.reshape((1,) * axis + (size,) + (1,) * (len(self.shape) - axis - 1))
        return x.reshape(-1)[index.reshape(self.shape)]


def dense_strides(shape: Shape) -> tuple[int, ...]:
    """Elements to step per dimension of a dense array."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


@dataclass(frozen=True, kw_only=True)
class Movement(Op):
    """Input: any type. Outputs have the input's encoding."""

    @abstractmethod
    def views(self, node: Node) -> list[View]:
        """One view per output."""

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [view.shape for view in self.views(node)]

    def check(self, node: Node) -> None:
        same = all(output.dtype == node.input(0).dtype for output in node.outputs)
        node.require(same, "input and outputs must have one type")
        views = self.views(node)
        if len(views) != len(node.outputs):
            raise ModelError(f"has {len(node.outputs)} outputs, its parameters give {len(views)}", where=self.name)
        for view in views:
            ends = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
            low, high = sum(min(e, 0) for e in ends), sum(max(e, 0) for e in ends)
            if min(view.shape, default=1) < 1 or view.base + low < 0 or view.base + high >= node.input(0).size:
                raise ModelError("reaches outside its input", where=node.describe())

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [view.take(values[0]) for view in self.views(node)]


@dataclass(frozen=True, kw_only=True)
class StridedSlice(Movement):
    """SLICE and STRIDED_SLICE.

    Attributes:
        begin, step, count: the walk along each input dimension.
        axes: the input dimension behind each output dimension, in order; None for a new one of size 1.
            Input dimensions that are not named have one element, and are dropped.
    """

    KIND: ClassVar[str] = "strided_slice"

    begin: tuple[int, ...]
    step: tuple[int, ...]
    count: tuple[int, ...]
    axes: tuple[int | None, ...]

    def check(self, node: Node) -> None:
        # Checked per dimension: a walk past the end of a row would still lie inside the input.
        for size, first, step, count in zip(node.input(0).shape, self.begin, self.step, self.count, strict=True):
            last = first + (count - 1) * step
            if not (0 <= first < size and 0 <= last < size and count >= 1):
                raise ModelError(f"takes elements {first} to {last} of a dimension of {size}", where=node.describe())
        super().check(node)

    def views(self, node: Node) -> list[View]:
        dense = dense_strides(node.input(0).shape)
        base = sum(b * s for b, s in zip(self.begin, dense, strict=True))
        shape = tuple(1 if axis is None else self.count[axis] for axis in self.axes)
        strides = tuple(0 if axis is None else dense[axis] * self.step[axis] for axis in self.axes)
        return [View(shape, strides, base)]


@dataclass(frozen=True, kw_only=True)
class Transpose(Movement):
    """Output dimension i is input dimension `permutation[i]`."""

    KIND: ClassVar[str] = "transpose"

    permutation: tuple[int, ...]

    def views(self, node: Node) -> list[View]:
        shape = node.input(0).shape
        dense = dense_strides(shape)
        order = self.permutation
        if sorted(order) != list(range(len(shape))):
            raise ModelError(f"{list(order)} does not permute {len(shape)} dimensions", where=node.describe())
        return [View(tuple(shape[i] for i in order), tuple(dense[i] for i in order), 0)]


@dataclass(frozen=True, kw_only=True)
class Split(Movement):
    """SPLIT and SPLIT_V: consecutive parts along `axis`."""

    KIND: ClassVar[str] = "split"

    axis: int
    sizes: tuple[int, ...]

    def views(self, node: Node) -> list[View]:
        shape = node.input(0).shape
        dense = dense_strides(shape)
        if sum(self.sizes) != shape[self.axis]:
            raise ModelError(f"parts {list(self.sizes)} of {shape[self.axis]} elements", where=node.describe())
        starts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        return [
            View((*shape[: self.axis], size, *shape[self.axis + 1 :]), dense, start * dense[self.axis])
            for start, size in zip(starts, self.sizes, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Unpack(Movement):
    """One output per element of `axis`, without that axis."""

    KIND: ClassVar[str] = "unpack"

    axis: int

    def views(self, node: Node) -> list[View]:
        shape = node.input(0).shape
        dense = dense_strides(shape)
        if shape[self.axis] > 4096:
            raise ModelError(f"{shape[self.axis]} outputs", where=node.describe())
        rest = shape[: self.axis] + shape[self.axis + 1 :]
        steps = dense[: self.axis] + dense[self.axis + 1 :]
        return [View(rest, steps, k * dense[self.axis]) for k in range(shape[self.axis])]


@dataclass(frozen=True, kw_only=True)
class BroadcastTo(Movement):
    """Repeats the input along its dimensions of one element, and along new ones in front, to `shape`."""

    KIND: ClassVar[str] = "broadcast_to"

    shape: Shape

    def views(self, node: Node) -> list[View]:
        x = node.input(0).shape
        added = len(self.shape) - len(x)
        own = (1,) * added + x
        if added < 0 or any(size not in (1, wanted) for size, wanted in zip(own, self.shape, strict=True)):
            raise ModelError(f"cannot broadcast {list(x)} to {list(self.shape)}", where=node.describe())
        steps = zip(own, dense_strides(own), strict=True)
        return [View(self.shape, tuple(0 if size == 1 else stride for size, stride in steps), 0)]
