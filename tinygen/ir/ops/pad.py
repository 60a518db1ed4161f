"""PAD, PADV2 and MIRROR_PAD; borders that repeat an edge or wrap around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, Literal

import numpy as np

from tinygen.ir.encodings import Binary
from tinygen.ir.ops.base import LATER, Node, Op, Stripe
from tinygen.ir.tensor import Shape

PAD_LIMIT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Pad(Op):
    """Input: any type; `paddings` are (before, after) per dimension, `value` the code that fills. Bits get pixels."""

    KIND: ClassVar[str] = "pad"
    TAKES_BITS: ClassVar[bool] = True

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
        if isinstance(x.encoding, Binary):
            node.require(self.paddings[-1] == (0, 0) and self.value in (0, 1), "only pixels are added to bits, 0 or 1")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.pad(values[0], self.paddings, constant_values=self.value)]


class Beyond(Enum):
    """What a border repeats."""

    MIRROR = "mirror"
    """The input, mirrored."""
    EDGE = "edge"
    """The outermost element."""
    WRAP = "wrap"
    """The input from its other end on."""


@dataclass(frozen=True, kw_only=True)
class MirrorPad(Pad):
    """Fills with elements of the input.

    Attributes:
        symmetric: of a mirrored border: repeats the outermost element, too.
        beyond: which elements a border has.
    """

    KIND: ClassVar[str] = "mirror_pad"
    TAKES_BITS: ClassVar[bool] = False

    symmetric: bool
    beyond: Beyond = field(default=Beyond.MIRROR, metadata=LATER, repr=False)

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return None

    def check(self, node: Node) -> None:
        super().check(node)
        if self.beyond is Beyond.EDGE:
            return
        inner = self.beyond is Beyond.MIRROR and not self.symmetric
        for size, pair in zip(node.input(0).shape, self.paddings, strict=True):
            node.require(max(pair) <= size - inner, f"paddings {pair} of {size} elements")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.extended(values[0], self.paddings)]

    def extended(self, x: np.ndarray, paddings: Sequence[tuple[int, int]]) -> np.ndarray:
        """An array with borders of these sizes."""
        mirrored: Literal["symmetric", "reflect"] = "symmetric" if self.symmetric else "reflect"
        mode: Literal["symmetric", "reflect", "edge", "wrap"] = mirrored
        if self.beyond is not Beyond.MIRROR:
            mode = "edge" if self.beyond is Beyond.EDGE else "wrap"
        return np.pad(x, paddings, mode=mode)
