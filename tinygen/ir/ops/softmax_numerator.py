"""A softmax before the division by its sum, for layers that only need signs or the order of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine, Levels
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape, Tensor

LARGEST = 255


@dataclass(frozen=True, kw_only=True)
class SoftmaxNumerator(Op):
    """Input: [1, C], 8-bit codes. Output: round(255 exp(-scale d)), 8 bits, where d is the distance in codes of each
    element below the largest.

    The mask predictors of fire together, wire together take a softmax over channels (Elkerdawy 2022, section 6.2.4):
    logit[f] = sum over c of w[f, c] p[c] / S + b[f], with S the sum of all p. Only the signs or the order of logits
    matter, and S is positive: sum over c of (w[f, c] + b[f]) p[c] has the same signs and order, without a division.
    """

    KIND: ClassVar[str] = "softmax_numerator"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x, y = node.input(0), node.output
        one = isinstance(x.encoding, Affine | Levels) and not x.encoding.per_channel and x.dtype.itemsize == 1
        node.require(one, f"'{x.name}' is {x.encoding}, not codes of a byte with one scale")
        node.require(x.size == x.shape[-1], f"one row of channels, not {x.describe()}")
        wanted = Levels((1 / LARGEST,), bits=8, signed=False)
        node.require(y.encoding == wanted, f"the output is {wanted}, not {y.encoding}")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = values[0].astype(np.int64)
        return [powers(node.input(0))[codes.max(axis=-1, keepdims=True) - codes]]


def powers(tensor: Tensor) -> np.ndarray:
    """Table by distance in codes below the largest element; uint8 [256]."""
    steps = 2 if isinstance(tensor.encoding, Levels) and tensor.encoding.signed else 1
    return np.rint(LARGEST * np.exp(-steps * tensor.integer.scale[0] * np.arange(256.0))).astype(np.uint8)
