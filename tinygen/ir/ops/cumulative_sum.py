"""CUMSUM: sums of all elements up to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Plain
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class CumulativeSum(Op):
    """Input: float32, or int32 or int64, which wrap.

    Attributes:
        axis: along which elements are added.
        exclusive: leave out the element itself.
        reverse: add from the end.
    """

    KIND: ClassVar[str] = "cumulative_sum"

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(x.dtype == node.output.dtype, "input and output must have one type")
        node.require(0 <= self.axis < len(x.shape), f"axis {self.axis} of {len(x.shape)} dimensions")
        plain = isinstance(x.encoding, Plain) and x.dtype in (np.int32, np.int64)
        node.require(x.is_float or plain, f"{x.encoding} is not supported")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = np.flip(values[0], self.axis) if self.reverse else values[0]
        with np.errstate(all="ignore"):
            sums = np.cumsum(x, axis=self.axis, dtype=x.dtype)
        if self.exclusive:
            sums = np.roll(sums, 1, self.axis)
            sums[(slice(None),) * self.axis + (0,)] = 0
        return [np.flip(sums, self.axis) if self.reverse else sums]
