"""TOPK_V2: the largest elements along the last axis, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Plain
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class TopK(Op):
    """Input: [..., n], int8, int32 or float32. Outputs: the k largest [..., k], largest first, in the input's encoding,
    and their positions, int32. Of equal elements the first ones count.

    Attributes:
        k: 1 to n.
    """

    KIND: ClassVar[str] = "top_k"

    k: int

    def infer_shapes(self, node: Node) -> list[Shape]:
        shape = (*node.input(0).shape[:-1], self.k)
        return [shape, shape]

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(len(x.shape) > 0 and 1 <= self.k <= x.shape[-1], f"{self.k} of {list(x.shape)}")
        node.require(x.is_float or x.dtype in (np.int8, np.int32), f"{x.encoding} is not supported")
        values, positions = node.outputs
        node.require(values.encoding == x.encoding, f"its values are {values.encoding}, its input is {x.encoding}")
        node.require(positions.encoding == Plain("int32"), f"its positions are {positions.encoding}, not int32")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        positions = top_positions(values[0], self.k)
        return [np.take_along_axis(values[0], positions, axis=-1), positions.astype(np.int32)]


def top_positions(values: np.ndarray, k: int) -> np.ndarray:
    """Where the k largest along the last axis are, largest first, of equal ones the first; int64 [..., k]."""
    # Sorted backwards, equal elements would stand last first: so the reverse of what stands last is taken.
    order = np.argsort(values[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return np.asarray(values.shape[-1] - 1 - order[..., :k])
