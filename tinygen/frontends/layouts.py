"""Memory layouts of a user's arrays, and their conversion to rows of a model's input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import permutations
from typing import TYPE_CHECKING

from tinygen.errors import TinygenError

if TYPE_CHECKING:
    import numpy as np

_IMAGE = 4
"""Dimensions of a batch of images; only such tensors have two layouts."""


class Layout(StrEnum):
    """Order of the dimensions of images: batch, height, width and channels."""

    NHWC = "nhwc"
    NCHW = "nchw"

    @classmethod
    def named(cls, name: str) -> Layout:
        """The layout of that name.

        Raises:
            TinygenError: there is none.
        """
        if name not in tuple(cls):
            raise TinygenError(f"there is no layout '{name}'", fix=f"Layouts: {', '.join(cls)}.")
        return cls(name)


_ORDERS = {Layout.NHWC: (0, 2, 3, 1), Layout.NCHW: (0, 3, 1, 2)}
"""Dimensions of the other layout in the order of this one."""


@dataclass(frozen=True)
class Rows:
    """The shape that an array must fit.

    Attributes:
        what: name of the values in errors: "input 'x'".
        shape: of one sample, batch dimension included.
        native: layout of `shape`; None if it is not an image's.
    """

    what: str
    shape: tuple[int, ...]
    native: Layout = Layout.NHWC

    def given_as(self, layout: Layout | None) -> tuple[int, ...]:
        """The shape of one sample in an array of that layout; None is the native layout."""
        if layout in (None, self.native) or len(self.shape) != _IMAGE:
            return self.shape
        assert layout is not None
        return tuple(self.shape[axis] for axis in _ORDERS[layout])

    @property
    def _other(self) -> Layout:
        return Layout.NCHW if self.native is Layout.NHWC else Layout.NHWC

    def take(self, array: np.ndarray, layout: Layout | None, where: str) -> np.ndarray:
        """An array as rows [samples, *shape].

        The array holds a sample per row, or a single sample. Dimensions of size 1 may be missing. Flat rows are taken
        only if they are unambiguous: the sample has one dimension larger than 1, or the layout is given.

        Args:
            array: of any type.
            layout: of the array; None is the native layout.
            where: the file, for errors.

        Raises:
            TinygenError: the array does not fit; the error's fix says how to convert it.
        """
        if array.size == 0:
            raise TinygenError("holds no samples", where=where)
        is_one = array.ndim == 0 or (array.size == math.prod(self.shape) and len(array) != 1)
        rows, given = array[None] if is_one else array, self.given_as(layout)
        if not self._fits(rows.shape[1:], given, flat=layout is not None):
            raise TinygenError(self._mismatch(rows.shape[1:]), where=where, fix=self._fix(rows.shape[1:], layout))
        rows = rows.reshape(len(rows), *given)
        if given is self.shape:
            return rows
        return rows.transpose(0, *(1 + axis for axis in _ORDERS[self.native]))

    @staticmethod
    def _fits(row: Sequence[int], given: Sequence[int], *, flat: bool) -> bool:
        """Whether the shapes are equal apart from dimensions of size 1, so that the elements have the same order."""
        found, wanted = _larger(row), _larger(given)
        return found == wanted or (flat and found == [math.prod(given)])

    def _mismatch(self, row: Sequence[int]) -> str:
        kind = "flat rows" if _larger(row) == [math.prod(self.shape)] else "rows"
        return f"{kind} of shape {list(row)} do not fit {self.what} {list(self.shape)}"

    def _fix(self, row: Sequence[int], layout: Layout | None) -> str:
        """Advice on how to make rows fit; "" if there is none."""
        other = self.native if layout is self._other else self._other
        if self._fits(row, self.given_as(other), flat=False):
            return f'They fit as {other.upper()}: give --layout {other} (layout="{other}" in Python).'
        if _larger(row) == [math.prod(self.shape)]:
            given = self.given_as(self._other)
            other_order = f", --layout {self._other} for {list(given)}" if given != self.shape else ""
            return (
                f"Flat rows do not say their order: shape them; or say it, by --layout {self.native} for that of "
                f"{list(self.shape)}{other_order}."
            )
        moved = self._transposition(row)
        return f"Transposed they fit: numpy.transpose(x, {moved})." if moved else ""

    def _transposition(self, row: Sequence[int]) -> tuple[int, ...] | None:
        """Axes of an array [samples, *row] that make it fit."""
        if len(row) > _IMAGE:
            return None
        for order in permutations(range(len(row))):
            if self._fits([row[axis] for axis in order], self.shape, flat=False):
                return (0, *(1 + axis for axis in order))
        return None


def _larger(shape: Sequence[int]) -> list[int]:
    """The dimensions larger than 1."""
    return [size for size in shape if size != 1]
