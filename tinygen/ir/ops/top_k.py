"""TOPK_V2: the largest elements along the last axis and their positions; also k-winners-take-all of a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine, ChannelList, Levels, Plain
from tinygen.ir.ops.base import LATER, Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class TopK(Op):
    """Input: [..., n], integers of 8 to 64 bits or float32. Outputs: the k largest [..., k], largest first, in the
    input's encoding, and their positions, int32 or int16. Of equal elements the first ones count; NaN is below all.

    As a gate of n channels: codes of 8 bits or int32 [1, n]. The same elements are chosen, but sorted by
    position, so that memory is read forward; positions are a `ChannelList`. With the values this is k-winners-take-all
    (Raju 2022, equation 3.4): the largest by value, not by magnitude, exactly k of them.

    Attributes:
        k: 1 to n.
        by_position: sort by position, as gates do.
    """

    KIND: ClassVar[str] = "top_k"

    k: int
    by_position: bool = field(default=False, metadata=LATER, repr=False)

    def infer_shapes(self, node: Node) -> list[Shape]:
        shape = (*node.input(0).shape[:-1], self.k)
        return [shape, shape]

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(len(x.shape) > 0 and 1 <= self.k <= x.shape[-1], f"{self.k} of {list(x.shape)}")
        if self.by_position:
            rises = isinstance(x.encoding, Affine | Levels) and (x.dtype.itemsize == 1 or x.dtype == np.int32)
            node.require(rises and x.size == x.shape[-1], f"a gate takes one row of bytes or int32, not {x.describe()}")
        else:
            whole = isinstance(x.encoding, Affine | Plain) and x.dtype.kind in "iu"
            node.require(x.is_float or whole, f"{x.encoding} is not supported")
        values, positions = node.outputs
        node.require(values.encoding == x.encoding, f"its values are {values.encoding}, its input is {x.encoding}")
        wanted = (ChannelList(x.shape[-1]),) if self.by_position else (Plain("int32"), Plain("int16"))
        node.require(positions.encoding in wanted, f"its positions are {positions.encoding}, not {wanted[0]}")
        node.require(x.shape[-1] - 1 <= np.iinfo(positions.dtype).max, f"{positions.dtype} is too short for positions")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        positions = top_positions(values[0], self.k)
        if self.by_position:
            positions = np.sort(positions, axis=-1)
        return [np.take_along_axis(values[0], positions, axis=-1), positions.astype(node.outputs[1].dtype)]


def top_positions(values: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest along the last axis, largest first, ties by position; int64 [..., k]."""
    # Reversing a stable ascending sort would put equal elements last first: so sort the reversed input.
    missing = np.isnan(values)
    known = np.where(missing, -np.inf, values) if missing.any() else values
    positions = values.shape[-1] - 1 - np.argsort(known[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    if missing.any():
        # Behind all numbers, -inf included.
        last = np.argsort(np.take_along_axis(missing, positions, axis=-1), axis=-1, kind="stable")
        positions = np.take_along_axis(positions, last, axis=-1)
    return np.asarray(positions[..., :k])
