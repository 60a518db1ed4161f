"""SOFTMAX over the last axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import (
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from tinygen.ir.gemmlowp import exp_on_negative_values, one_over_one_plus
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape

_DIFF_FRACTION_BITS = 26
_SUM_INTEGER_BITS = 12


@dataclass(frozen=True, kw_only=True)
class Softmax(Op):
    """Input: int8 or float32, any rank. `beta` scales the exponent.

    int8 output stands for code / 256 + 1/2 (scale 1/256, zero point -128): the arithmetic is fixed-point
    throughout, as in TFLite's reference kernel.
    """

    KIND: ClassVar[str] = "softmax"

    beta: float = 1.0

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(len(x.shape) >= 1, "input must have an axis")
        node.require(bool(np.isfinite(self.beta)) and self.beta > 0, "beta must be positive and finite")
        if x.is_float:
            node.require(output.is_float, "float input needs float output")
            return
        for tensor in (x, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized and tensor.dtype == np.int8, f"'{tensor.name}' is {tensor.encoding}, not int8")
        fixed = output.zero_point == -128 and abs(output.scale * 256 - 1) < 1e-3
        node.require(fixed, "output must have scale 1/256 and zero point -128")
        node.require(x.scale * self.beta * (1 << _DIFF_FRACTION_BITS) > 1, "beta * scale is too small")

    def scaling(self, node: Node) -> tuple[int, int, int]:
        """(multiplier, shift) from codes to Q5, and the largest distance in codes from the maximum that counts."""
        real = min(self.beta * node.input(0).scale * (1 << _DIFF_FRACTION_BITS), 2.0**31 - 1.0)
        multiplier, shift = quantize_multiplier(real)
        return multiplier, shift, math.floor(((1 << 5) - 1) * (1 << _DIFF_FRACTION_BITS) / (1 << shift))

    def exponentials(self, node: Node) -> np.ndarray:
        """exp(beta * scale * -d) in Q0 for d = 0, 1, ... codes below the largest; larger distances count as 0."""
        multiplier, shift, reach = self.scaling(node)
        below = np.arange(min(reach, 255) + 1, dtype=np.int64)
        return exp_on_negative_values(saturating_rounding_doubling_high_mul(-below << shift, multiplier))

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = values[0].reshape(-1, node.output.shape[-1])
        if node.output.is_float:
            shifted = (x.astype(np.float64) - x.max(axis=1, keepdims=True)) * self.beta
            powers = np.exp(shifted)
            result = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
            return [result.reshape(node.output.shape)]
        table = np.zeros(256, np.int64)
        known = self.exponentials(node)
        table[: len(known)] = known
        powers = table[x.max(axis=1, keepdims=True).astype(np.int64) - x]
        total = rounding_divide_by_pot(powers, _SUM_INTEGER_BITS).sum(axis=1, keepdims=True)
        zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        reciprocal = one_over_one_plus((total << zeros) - (1 << 31))
        product = saturating_rounding_doubling_high_mul(reciprocal, powers)
        codes = rounding_divide_by_pot(product, _SUM_INTEGER_BITS - zeros + 31 - 8) - 128
        return [np.clip(codes, -128, 127).astype(np.int8).reshape(node.output.shape)]
