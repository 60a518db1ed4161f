"""Sums of two tensors of integer codes at a common scale, through an epilogue: residual connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape, Tensor


@dataclass(frozen=True, kw_only=True)
class IntegerAdd(Op):
    """Inputs: codes a and b [..., C] of one shape, each of any integer encoding with one scale.

    sum = (first * integers(a) + second * integers(b) + half) >> shift, half being 2**(shift - 1), or 0 where nothing is
    shifted; output: its epilogue. With int32 codes or a shift, products are computed in 64-bit two's complement, and
    sums are clamped to +-LARGEST. Otherwise `check` makes sure that sums fit 32 bits.

    Attributes:
        first, second: factors below 2**62, one for all channels or one per channel; negative ones subtract.
        shift: 0 to 31, one for all channels or one per channel.
    """

    KIND: ClassVar[str] = "integer_add"
    TAKES_BITS: ClassVar[bool] = True

    first: tuple[int, ...]
    second: tuple[int, ...]
    shift: tuple[int, ...] = (0,)
    epilogue: Epilogue | None = None

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        a, b = node.input(0), node.input(1)
        node.require(a.shape == b.shape, "operands must have one shape")
        for tensor, factors in ((a, self.first), (b, self.second)):
            integer_mac.check_activations(node, tensor)
            node.require(len(factors) in (1, a.shape[-1]), f"{len(factors)} factors for {a.shape[-1]} channels")
            node.require(all(abs(factor) < 2**62 for factor in factors), "a factor beyond 62 bits")
        node.require(len(self.shift) in (1, a.shape[-1]), f"{len(self.shift)} shifts for {a.shape[-1]} channels")
        node.require(all(0 <= shift <= 31 for shift in self.shift), "a shift beyond 31")
        integer_mac.check_epilogue(node, self.epilogue, a.shape[-1])
        if not self.is_wide(node):
            largest = _products(a, self.first) + _products(b, self.second)
            node.require(int(largest.max()) <= integer_mac.LARGEST, "sums may not fit 32 bits")

    def is_wide(self, node: Node) -> bool:
        """Whether the encodings allow the sum, shifted or not yet shifted, to exceed 32 bits."""
        return any(self.shift) or np.int32 in (node.input(0).dtype, node.input(1).dtype)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = (node.input(i).integer.integers(values[i]) for i in (0, 1))
        shift = np.array(self.shift, np.int64)
        total = a * np.array(self.first, np.int64) + b * np.array(self.second, np.int64) + ((1 << shift) >> 1)
        held = np.clip(total >> shift, -integer_mac.LARGEST, integer_mac.LARGEST)
        return [integer_mac.finish(node, self.epilogue, held)]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return Stripe(self, ((first, end), (first, end))) if len(node.input(0).shape) == 4 else None


def _products(tensor: Tensor, factors: Sequence[int]) -> np.ndarray:
    """Bounds of a tensor's integers times the factors, for all channels or each; Python integers of any size."""
    return np.abs(np.array(factors, object)) * integer_mac.largest_integer(tensor.encoding)
