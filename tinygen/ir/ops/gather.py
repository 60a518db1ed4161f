"""GATHER, GATHER_ND and SCATTER_ND: where elements come from, or go, is data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape, Tensor

_INDICES = ("int8", "uint8", "int16", "int32", "int64")


def _require_indices(node: Node, tensor: Tensor) -> None:
    node.require(tensor.dtype.name in _INDICES, f"indices must be integers, not {tensor.encoding}")


@dataclass(frozen=True)
class Rows:
    """A gather as rows of a table.

    Attributes:
        batches: tables; each has indices of its own.
        blocks: of a table: dimensions between those of the batch and those that are indexed.
        sizes: of the dimensions that are indexed, at least one.
        run: elements that an index takes.
        count: rows that are taken of each block.
    """

    batches: int
    blocks: int
    sizes: Shape
    run: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Gather(Op):
    """Inputs: a tensor of any type [B, ..., N, ...] and indices [B, ...] of integers. Output: [B, ..., indices, ...].

    An index below 0 takes the first element, one beyond the end the last: nothing outside of the input is read. LiteRT
    ends an inference with an error there.

    Attributes:
        axis: the dimension that is indexed, or the first of several.
        batch_dims: leading dimensions that inputs and output share.
        tuples: the last dimension of the indices counts the dimensions that are indexed together, from `axis` on, as in
            GATHER_ND.
    """

    KIND: ClassVar[str] = "gather"

    axis: int
    batch_dims: int = 0
    tuples: bool = False

    def _indexed(self, node: Node) -> int:
        """Number of dimensions that are indexed."""
        return node.input(1).shape[-1] if self.tuples else 1

    def rows(self, node: Node) -> Rows:
        """Sizes of what is gathered."""
        x, indices = node.input(0).shape, node.input(1).shape
        batch, last = self.batch_dims, self.axis + self._indexed(node)
        return Rows(
            batches=math.prod(x[:batch]),
            blocks=math.prod(x[batch : self.axis]),
            sizes=x[self.axis : last],
            run=math.prod(x[last:]),
            count=math.prod(indices[batch : len(indices) - self.tuples]),
        )

    def infer_shapes(self, node: Node) -> list[Shape]:
        x, indices = node.input(0).shape, node.input(1).shape
        kept = indices[self.batch_dims : len(indices) - self.tuples]
        return [(*x[: self.axis], *kept, *x[self.axis + self._indexed(node) :])]

    def check(self, node: Node) -> None:
        x, indices = node.input(0), node.input(1)
        node.require(x.dtype == node.output.dtype, "input and output must have one type")
        _require_indices(node, indices)
        least = self.batch_dims + self.tuples
        fits = 0 <= self.batch_dims <= self.axis and least <= len(indices.shape)
        reach = fits and self.axis + self._indexed(node) <= len(x.shape)
        if not reach or x.shape[: self.batch_dims] != indices.shape[: self.batch_dims]:
            raise ModelError(f"indices {list(indices.shape)} do not fit {list(x.shape)}", where=node.describe())

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows = self.rows(node)
        table = values[0].reshape(rows.batches, rows.blocks, math.prod(rows.sizes), rows.run)
        wanted = values[1].astype(np.int64).reshape(rows.batches, rows.count, len(rows.sizes))
        places = flat_places(np.clip(wanted, 0, np.array(rows.sizes, np.int64) - 1), rows.sizes)
        found = np.stack([part[:, own] for part, own in zip(table, places, strict=True)])
        return [found.reshape(node.output.shape)]


def flat_places(indices: np.ndarray, sizes: Shape) -> np.ndarray:
    """Tuples of indices [..., dimensions] as positions in a dense array of these sizes."""
    steps = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    return np.asarray((indices * np.array(steps, np.int64)).sum(axis=-1))


@dataclass(frozen=True, kw_only=True)
class ScatterNd(Op):
    """Inputs: indices of integers [..., dimensions] and updates [..., rest]. Output: `shape`, zeros and what is added.

    Updates of one place add up, integers modulo 2 to the power of their bits, booleans to true. A tuple with an index
    outside of the output adds nothing. LiteRT ends an inference with an error there.
    """

    KIND: ClassVar[str] = "scatter_nd"

    shape: Shape

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [self.shape]

    def indexed(self, node: Node) -> int:
        """Number of dimensions that are indexed."""
        return node.input(0).shape[-1]

    def check(self, node: Node) -> None:
        indices, updates = node.input(0), node.input(1)
        node.require(updates.dtype == node.output.dtype, "updates and output must have one type")
        _require_indices(node, indices)
        count = self.indexed(node)
        wanted = (*indices.shape[:-1], *self.shape[count:])
        if count > len(self.shape) or updates.shape != wanted:
            raise ModelError(f"updates {list(updates.shape)}, its indices want {list(wanted)}", where=node.describe())

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        count = self.indexed(node)
        sizes = self.shape[:count]
        wanted = values[0].astype(np.int64).reshape(-1, count)
        inside = ((wanted >= 0) & (wanted < np.array(sizes, np.int64))).all(axis=-1)
        output = np.zeros((math.prod(sizes), math.prod(self.shape[count:])), node.output.dtype)
        with np.errstate(over="ignore"):
            # In order, one by one: sums of floats depend on it.
            for place, update in zip(
                flat_places(wanted, sizes)[inside], values[1].reshape(len(wanted), -1)[inside], strict=True
            ):
                output[place] += update
        return [output.reshape(self.shape)]
