"""L2_NORMALIZATION and LOCAL_RESPONSE_NORMALIZATION: elements divided by the size of their row, or neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import multiply_by_quantized_multiplier
from tinygen.ir.gemmlowp import inverse_square_root
from tinygen.ir.ops.base import LATER, Node, Op
from tinygen.ir.tensor import Shape

LEAST = 1e-6
"""The least size that floats are divided by."""
OUTPUT_BITS = 7
"""Fractional bits of an int8 output."""
_MOST_CODES = 33_000
"""Codes whose squares add up to less than 2**31."""


@dataclass(frozen=True, kw_only=True)
class L2Normalization(Op):
    """x / sqrt(sum of x * x) over the last axis. Input: int8 or float32; int8 output has scale 1/128, zero point 0.

    Attributes:
        unsigned: int8 codes are those of uint8 less 128, which LiteRT scales in front of the product
            (l2normalization.h, `L2Normalization`).
    """

    KIND: ClassVar[str] = "l2_normalization"

    unsigned: bool = field(default=False, metadata=LATER, repr=False)

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(len(x.shape) >= 1, "input must have an axis")
        node.require(x.dtype == output.dtype, "input and output must have one type")
        node.require(not self.unsigned or x.dtype == np.int8, "only int8 codes are those of uint8")
        if x.is_float:
            return
        for tensor in (x, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized and tensor.dtype == np.int8, f"'{tensor.name}' is {tensor.encoding}, not int8")
        fixed = output.scale == 2.0**-OUTPUT_BITS and output.zero_point == 0
        node.require(fixed, "output must have scale 1/128 and zero point 0")
        node.require(x.shape[-1] <= _MOST_CODES, f"rows of {x.shape[-1]:,} codes are longer than {_MOST_CODES:,}")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        if node.output.is_float:
            x = values[0].astype(np.float64)
            size = np.sqrt((x * x).sum(axis=-1, keepdims=True))
            return [(x / np.maximum(size, LEAST)).astype(np.float32)]
        codes = values[0].astype(np.int64) - node.input(0).zero_point
        multiplier, shift = inverse_square_root((codes * codes).sum(axis=-1, keepdims=True))
        before = OUTPUT_BITS if self.unsigned else 0
        scaled = multiply_by_quantized_multiplier(codes << before, multiplier, shift + OUTPUT_BITS - before)
        return [np.clip(scaled, -128, 127).astype(np.int8)]


@dataclass(frozen=True, kw_only=True)
class LocalResponseNormalization(Op):
    """x * (bias + alpha * sum of squares)**-beta, float32 (Krizhevsky et al., 2012, section 3.3).

    The sum is over channels from c - radius to c + radius - 1, as in LiteRT, which leaves the last neighbour out.
    """

    KIND: ClassVar[str] = "local_response_normalization"

    radius: int
    bias: float
    alpha: float
    beta: float

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        node.require(len(node.input(0).shape) >= 1, "input must have an axis")
        node.require(node.input(0).is_float and node.output.is_float, "only float32 is supported")
        node.require(self.radius >= 0, f"radius {self.radius}")
        finite = bool(np.isfinite([self.bias, self.alpha, self.beta]).all())
        node.require(finite, "bias, alpha and beta must be finite")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = values[0].astype(np.float64)
        channels = x.shape[-1]
        squares = np.concatenate([np.zeros((*x.shape[:-1], 1)), np.cumsum(x * x, axis=-1)], axis=-1)
        here = np.arange(channels)
        first, end = np.maximum(here - self.radius, 0), np.minimum(here + self.radius, channels)
        total = np.maximum(squares[..., np.maximum(end, first)] - squares[..., first], 0)
        with np.errstate(all="ignore"):
            return [(x * (self.bias + self.alpha * total) ** -self.beta).astype(np.float32)]
