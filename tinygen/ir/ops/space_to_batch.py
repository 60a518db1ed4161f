"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: every n-th row and column of a tensor as an element of the batch.

Converters wrap dilated convolutions in them. `passes/space_to_batch.py` merges those, and makes pads, transposes and
slices of others: no kernel computes these operators.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine, Float32, Plain
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.pad import PAD_LIMIT
from tinygen.ir.tensor import Shape

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Blocks(Op):
    """Input: any type; the output has its encoding.

    Attributes:
        block: the stride of each dimension behind the batch, but for the last ones that it leaves alone.
    """

    block: tuple[int, ...]

    @property
    @abstractmethod
    def margins(self) -> Pairs:
        """Elements that are added or removed, (before, after) per dimension of `block`."""

    def check(self, node: Node) -> None:
        x = node.input(0)
        known = isinstance(x.encoding, Affine | Float32 | Plain)
        node.require(known and x.encoding == node.output.encoding, "input and output must have one encoding")
        node.require(len(self.block) == len(self.margins) < len(x.shape), f"block {self.block} of {list(x.shape)}")
        node.require(all(size >= 1 for size in self.block), f"block {self.block}")
        amounts = [amount for pair in self.margins for amount in pair]
        node.require(all(0 <= amount < PAD_LIMIT for amount in amounts), f"margins {self.margins}")


@dataclass(frozen=True, kw_only=True)
class SpaceToBatch(Blocks):
    """[N, H, W, ...] to [block * N, padded H / block, padded W / block, ...]; the padding stands for 0."""

    KIND: ClassVar[str] = "space_to_batch"

    paddings: Pairs

    @property
    def margins(self) -> Pairs:
        return self.paddings

    def padded(self, node: Node) -> Shape:
        """The input's shape with its padding."""
        batch, *sizes = node.input(0).shape
        wider = [size + sum(pair) for size, pair in zip(sizes, self.paddings, strict=False)]
        return (batch, *wider, *sizes[len(wider) :])

    def infer_shapes(self, node: Node) -> list[Shape]:
        batch, *sizes = self.padded(node)
        if any(size % step for size, step in zip(sizes, self.block, strict=False)):
            raise ModelError(f"blocks of {list(self.block)} do not fill {sizes}", where=node.describe())
        parts = [size // step for size, step in zip(sizes, self.block, strict=False)]
        return [(batch * math.prod(self.block), *parts, *sizes[len(parts) :])]

    def split(self, node: Node) -> tuple[Shape, tuple[int, ...]]:
        """(dimensions of the padded input with each one split by its step, the order in which they are transposed)."""
        batch, *sizes = self.padded(node)
        count = len(self.block)
        pairs = [(size // step, step) for size, step in zip(sizes, self.block, strict=False)]
        shape = (batch, *(one for pair in pairs for one in pair), *sizes[count:])
        steps, parts = range(2, 2 * count + 1, 2), range(1, 2 * count, 2)
        return shape, (*steps, 0, *parts, *range(2 * count + 1, len(shape)))

    def fill(self, node: Node) -> int:
        """The code of the padding."""
        tensor = node.input(0)
        # LiteRT fills integers of 32 and 64 bits with the code 0.
        return tensor.zero_point if isinstance(tensor.encoding, Affine) and tensor.dtype.itemsize <= 2 else 0

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        rest = ((0, 0),) * (values[0].ndim - 1 - len(self.block))
        padded = np.pad(values[0], ((0, 0), *self.paddings, *rest), constant_values=self.fill(node))
        shape, order = self.split(node)
        return [padded.reshape(shape).transpose(order).reshape(node.output.shape)]


@dataclass(frozen=True, kw_only=True)
class BatchToSpace(Blocks):
    """The inverse: [block * N, H, W, ...] to [N, block * H, block * W, ...], cropped."""

    KIND: ClassVar[str] = "batch_to_space"

    crops: Pairs

    @property
    def margins(self) -> Pairs:
        return self.crops

    def whole(self, node: Node) -> Shape:
        """The output's shape before it is cropped."""
        batch, *sizes = node.input(0).shape
        if batch % math.prod(self.block):
            raise ModelError(f"{batch} elements of the batch in blocks of {self.block}", where=node.describe())
        wider = [size * step for size, step in zip(sizes, self.block, strict=False)]
        return (batch // math.prod(self.block), *wider, *sizes[len(wider) :])

    def infer_shapes(self, node: Node) -> list[Shape]:
        batch, *sizes = self.whole(node)
        left = [size - sum(pair) for size, pair in zip(sizes, self.crops, strict=False)]
        if min(left) < 1:
            raise ModelError(f"crops {self.crops} of {sizes}", where=node.describe())
        return [(batch, *left, *sizes[len(left) :])]

    def split(self, node: Node) -> tuple[Shape, tuple[int, ...]]:
        """(dimensions of the input with the batch split by the steps, the order in which they are transposed)."""
        batch, *sizes = node.input(0).shape
        count = len(self.block)
        shape = (*self.block, batch // math.prod(self.block), *sizes)
        woven = [one for place in range(count) for one in (count + 1 + place, place)]
        return shape, (count, *woven, *range(2 * count + 1, len(shape)))

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        shape, order = self.split(node)
        whole = values[0].reshape(shape).transpose(order).reshape(self.whole(node))
        kept = [slice(before, size - after) for (before, after), size in zip(self.crops, whole.shape[1:], strict=False)]
        return [whole[(slice(None), *kept)]]
