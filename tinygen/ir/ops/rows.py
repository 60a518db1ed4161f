"""Operators on rows of NHWC tensors of batch 1: windows, and tensors joined from rows.

Rows lie side by side in memory, so a window is a pointer into a larger tensor, and a tensor that is computed
stripe by stripe needs no copying. Passes create these operators; of the file formats, only `.tg` can hold them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


def row_shape(shape: Shape, axis: int) -> Shape:
    """[1, rows, columns, channels] of a tensor whose rows are those of `axis`; dimensions in front of it are 1."""
    inner = shape[axis + 1 :]
    channels = inner[-1] if inner else 1
    return 1, shape[axis], math.prod(inner) // channels, channels


@dataclass(frozen=True, kw_only=True)
class Rows(Op):
    """Whole rows, unchanged."""

    def check(self, node: Node) -> None:
        for tensor in (*node.inputs, *node.outputs):
            assert tensor is not None
            node.require(len(tensor.shape) == 4 and tensor.shape[0] == 1, f"'{tensor.name}' is not NHWC of batch 1")
            node.require(tensor.encoding == node.output.encoding, "inputs and output must have one encoding")


@dataclass(frozen=True, kw_only=True)
class RowWindow(Rows):
    """`count` rows of the input from row `first`."""

    KIND: ClassVar[str] = "row_window"
    TAKES_BITS: ClassVar[bool] = True

    first: int
    count: int

    def infer_shapes(self, node: Node) -> list[Shape]:
        batch, height, width, channels = node.input(0).shape
        if self.count < 1 or not 0 <= self.first <= height - self.count:
            raise ModelError(f"takes {self.count} rows from row {self.first} of {height}", where=self.name)
        return [(batch, self.count, width, channels)]

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [values[0][:, self.first : self.first + self.count]]


@dataclass(frozen=True, kw_only=True)
class JoinRows(Rows):
    """Joins the inputs' rows, from top to bottom."""

    KIND: ClassVar[str] = "join_rows"
    TAKES_BITS: ClassVar[bool] = True

    def infer_shapes(self, node: Node) -> list[Shape]:
        shapes = [node.input(i).shape for i in range(len(node.inputs))]
        if len({(s[0], *s[2:]) for s in shapes}) != 1:
            raise ModelError("its inputs differ in width or channels", where=node.describe())
        return [(shapes[0][0], sum(s[1] for s in shapes), *shapes[0][2:])]

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate(values, axis=1)]


@dataclass(frozen=True, kw_only=True)
class CopyRows(Rows):
    """Copies rows to another place in memory."""

    KIND: ClassVar[str] = "copy_rows"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [values[0].copy()]
