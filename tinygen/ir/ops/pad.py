"""PAD, PADV2 and MIRROR_PAD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape

PAD_LIMIT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Pad(Op):
    """Input: any type; `paddings` are (before, after) per dimension, `value` the code that fills."""

    KIND: ClassVar[str] = "pad"

    paddings: tuple[tuple[int, int], ...]
    value: int | float

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        before, height = self.paddings[1][0], node.input(0).shape[1]
        read = (max(first - before, 0), min(end - before, height))
        above, below = max(before - first, 0), max(end - before - height, 0)
        if read[0] >= read[1] or len(self.paddings) != 4:
            return None
        return Stripe(replace(self, paddings=(self.paddings[0], (above, below), *self.paddings[2:])), (read,))

    def infer_shapes(self, node: Node) -> list[Shape]:
        sizes = zip(node.input(0).shape, self.paddings, strict=True)
        return [tuple(size + before + after for size, (before, after) in sizes)]

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(x.dtype == node.output.dtype, "input and output must have one type")
        node.require(len(self.paddings) == len(x.shape), "one pair of paddings per dimension is wanted")
        amounts = [amount for pair in self.paddings for amount in pair]
        node.require(all(0 <= amount < PAD_LIMIT for amount in amounts), f"paddings {self.paddings}")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.pad(values[0], self.paddings, constant_values=self.value)]


@dataclass(frozen=True, kw_only=True)
class MirrorPad(Pad):
    """Fills with the mirrored input; `symmetric` repeats the border element."""

    KIND: ClassVar[str] = "mirror_pad"

    symmetric: bool

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return None

    def check(self, node: Node) -> None:
        super().check(node)
        for size, pair in zip(node.input(0).shape, self.paddings, strict=True):
            node.require(max(pair) <= size - (0 if self.symmetric else 1), f"paddings {pair} of {size} elements")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.pad(values[0], self.paddings, mode="symmetric" if self.symmetric else "reflect")]
