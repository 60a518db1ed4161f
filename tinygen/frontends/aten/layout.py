"""The memory order of a PyTorch tensor's elements in the graph's tensor.

PyTorch keeps images as NCHW, tinygen as NHWC. Views and permutations of a tensor move nothing: they only change which
of its dimensions is called what. A `Layout` keeps account of that, so that a transposition is made only where an
operator cannot work without, and flattening before a linear layer costs a permutation of its weights' columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tinygen.ir.tensor import Shape

NHWC = (0, 2, 3, 1)
"""Dimensions of an NCHW tensor in the order in which they are stored."""
NCHW = (0, 3, 1, 2)
"""The way back."""
NLC = (0, 2, 1)
"""Dimensions of a signal [N, C, L] in the order in which convolutions store them."""

_Part = tuple[tuple[int, ...], int]
"""A piece of an axis: a key that sorts as the pieces lie in memory, and its size."""


@dataclass(frozen=True)
class Layout:
    """A tensor's dimensions as groups of axes of its memory.

    Attributes:
        sizes: axes in memory order, the last varies fastest; none has size 1.
        dims: per dimension, as PyTorch sees it, its axes, the last varies fastest; () for size 1.
    """

    sizes: tuple[int, ...]
    dims: tuple[tuple[int, ...], ...]

    @classmethod
    def dense(cls, shape: Sequence[int], order: Sequence[int] | None = None) -> Layout:
        """The layout of dimensions stored in the given order; by default, in their own."""
        order = tuple(range(len(shape))) if order is None else tuple(order)
        stored = [dim for dim in order if shape[dim] != 1]
        dims = tuple((stored.index(dim),) if dim in stored else () for dim in range(len(shape)))
        return cls(tuple(shape[dim] for dim in stored), dims).merged()

    @property
    def shape(self) -> Shape:
        """As PyTorch sees it."""
        return tuple(math.prod(self.sizes[axis] for axis in dim) for dim in self.dims)

    @property
    def logical(self) -> tuple[int, ...]:
        """All axes in the order of the dimensions."""
        return tuple(axis for dim in self.dims for axis in dim)

    def stored_as(self, order: Sequence[int]) -> tuple[int, ...]:
        """The permutation of axes that stores the dimensions in that order."""
        return tuple(axis for dim in order for axis in self.dims[dim])

    def is_stored_as(self, order: Sequence[int]) -> bool:
        return self.stored_as(order) == tuple(range(len(self.sizes)))

    def dim_order(self) -> tuple[int, ...] | None:
        """The order of the dimensions in memory; None if axes of different dimensions are interleaved."""
        if any(len(dim) > 1 for dim in self.merged().dims):
            return None
        rank = len(self.dims)
        for order in (NHWC, NLC, tuple(range(rank))):
            if len(order) == rank and self.is_stored_as(order):
                return order
        return tuple(sorted(range(rank), key=lambda dim: self.dims[dim]))

    def permuted(self, order: Sequence[int]) -> Layout:
        """The layout whose dimension i is dimension `order[i]` of this one."""
        return Layout(self.sizes, tuple(self.dims[dim] for dim in order)).merged()

    def transposed(self, permutation: Sequence[int]) -> Layout:
        """The layout after a permutation of the axes in memory."""
        place = {axis: new for new, axis in enumerate(permutation)}
        sizes = tuple(self.sizes[axis] for axis in permutation)
        return Layout(sizes, tuple(tuple(place[axis] for axis in dim) for dim in self.dims)).merged()

    def merged(self) -> Layout:
        """The same layout with as few axes as possible: axes adjacent both in memory and in a dimension are merged."""
        joined = {(a, b) for dim in self.dims for a, b in pairwise(dim) if b == a + 1}
        place: list[int] = []
        sizes: list[int] = []
        for axis, size in enumerate(self.sizes):
            if (axis - 1, axis) in joined:
                sizes[-1] *= size
            else:
                sizes.append(size)
            place.append(len(sizes) - 1)
        dims = (tuple(dict.fromkeys(place[axis] for axis in dim)) for dim in self.dims)
        return Layout(tuple(sizes), tuple(dims))

    def split(self, shape: Sequence[int]) -> Layout | None:
        """The layout after a reshape of the dimensions; axes are split if necessary.

        None if no split allows it, so that the elements must be moved first.
        """
        rest: list[_Part] = []
        for before, axis in zip((-2, *self.logical), self.logical, strict=False):
            if axis == before + 1:
                # Axes that are contiguous in memory, of whichever dimensions.
                key, size = rest.pop()
                rest.append((key, size * self.sizes[axis]))
            else:
                rest.append(((axis,), self.sizes[axis]))
        taken: list[list[_Part]] = []
        for size in shape:
            taken.append([])
            while size > 1:
                if not rest:
                    return None
                key, axis = rest.pop(0)
                if size % axis == 0:
                    taken[-1].append((key, axis))
                    size //= axis
                elif axis % size == 0:
                    taken[-1].append(((*key, 0), size))
                    rest.insert(0, ((*key, 1), axis // size))
                    size = 1
                else:
                    return None
        if rest:
            return None
        memory = sorted(part for dim in taken for part in dim)
        place = {part: index for index, part in enumerate(memory)}
        return Layout(tuple(size for _, size in memory), tuple(tuple(place[part] for part in dim) for dim in taken))

    def viewed(self, shape: Sequence[int]) -> Layout | None:
        """`split`, then `merged`."""
        found = self.split(shape)
        return found and found.merged()

    def to_memory(self, array: np.ndarray) -> np.ndarray:
        """Elements of an array of `shape`, flat, in memory order."""
        split = array.reshape([self.sizes[axis] for axis in self.logical])
        return np.ascontiguousarray(split.transpose(np.argsort(self.logical))).reshape(-1)
