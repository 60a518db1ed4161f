"""SOFTMAX and LOG_SOFTMAX over the last axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import interpolated
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import (
    INT32_MIN,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from tinygen.ir.gemmlowp import exp_on_negative_values, leading_zeros, logarithm, one_over_one_plus
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape

_DIFF_FRACTION_BITS = 26
_SUM_INTEGER_BITS = 12


_RANGE = 65535
_INTERPOLATED = 10.0
"""Of 16-bit codes, exponentials are interpolated from -10 on."""


@dataclass(frozen=True, kw_only=True)
class _OfRows(Op):
    """A function of the distances of a row's elements from its largest one."""

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(len(x.shape) >= 1, "input must have an axis")
        if x.is_float:
            node.require(output.is_float, "float input needs float output")
            return
        for tensor in (x, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            known = quantized and tensor.dtype in (np.int8, np.int16)
            node.require(known, f"'{tensor.name}' is {tensor.encoding}, not int8 or int16")

    @property
    def factor(self) -> float:
        """Of the exponent."""
        return 1.0

    def scaling(self, node: Node) -> tuple[int, int, int]:
        """(multiplier, shift) from codes to Q5, and the largest distance in codes from the maximum that counts."""
        real = min(self.factor * node.input(0).scale * (1 << _DIFF_FRACTION_BITS), 2.0**31 - 1.0)
        multiplier, shift = quantize_multiplier(real)
        return multiplier, shift, math.floor(((1 << 5) - 1) * (1 << _DIFF_FRACTION_BITS) / (1 << shift))

    def exponentials(self, node: Node) -> np.ndarray:
        """exp(factor * scale * -d) in Q0 for d = 0, 1, ... codes below the largest; larger distances count as 0."""
        multiplier, shift, reach = self.scaling(node)
        below = np.arange(min(reach, 255) + 1, dtype=np.int64)
        return exp_on_negative_values(saturating_rounding_doubling_high_mul(-below << shift, multiplier))


def _distances(x: np.ndarray) -> np.ndarray:
    """How far each element lies below its row's largest, int64."""
    wide = x.astype(np.int64)
    return np.asarray(wide.max(axis=1, keepdims=True) - wide)


def _sums(powers: np.ndarray) -> np.ndarray:
    """Of rows of powers, in Q12."""
    return np.asarray(rounding_divide_by_pot(powers, _SUM_INTEGER_BITS).sum(axis=1, keepdims=True))


def _padded(known: np.ndarray) -> np.ndarray:
    table = np.zeros(256, np.int64)
    table[: len(known)] = known
    return table


@dataclass(frozen=True, kw_only=True)
class Softmax(_OfRows):
    """Input: int8, int16 or float32, any rank. `beta` scales the exponent.

    Output of int8 has scale 1/256 and zero point -128, or is int16 with scale 1/65536 and zero point -32768; that of
    int16 has scale 1/32768: the arithmetic is fixed-point throughout, as in TFLite's reference kernels.
    """

    KIND: ClassVar[str] = "softmax"

    beta: float = 1.0

    @property
    def factor(self) -> float:
        return self.beta

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(bool(np.isfinite(self.beta)) and self.beta > 0, "beta must be positive and finite")
        x, output = node.input(0), node.output
        if x.is_float:
            return
        node.require(x.dtype == np.int8 or output.dtype == np.int16, "int16 input needs int16 output")
        unit, zero = (32768, 0) if x.dtype == np.int16 else (1 << self.bits(node), output.code_range[0])
        fixed = output.zero_point == zero and abs(output.scale * unit - 1) < 1e-3
        node.require(fixed, f"output must have scale 1/{unit} and zero point {zero}")
        if x.dtype == np.int16:
            node.require(x.zero_point == 0, "16-bit codes must have zero point 0")
            node.require(self.real_scale(node) < 1 << 15, f"an input scale of {x.scale:.3g} is too large")
        else:
            node.require(x.scale * self.beta * (1 << _DIFF_FRACTION_BITS) > 1, "beta * scale is too small")

    def bits(self, node: Node) -> int:
        """Of a code of the output."""
        return 8 * node.output.dtype.itemsize

    def real_scale(self, node: Node) -> float:
        """Of 16-bit codes: from a distance to that in the table of exponentials; in single, then double precision."""
        return float(np.float32(node.input(0).scale) * np.float32(self.beta)) / (_INTERPOLATED / _RANGE)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, output = values[0].reshape(-1, node.output.shape[-1]), node.output
        if output.is_float:
            shifted = (x.astype(np.float64) - x.max(axis=1, keepdims=True)) * self.beta
            powers = np.exp(shifted)
            result = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
            return [result.reshape(output.shape)]
        codes = self._of_halves(node, x) if x.dtype == np.int16 else self._of_bytes(node, x)
        return [np.clip(codes, *output.code_range).astype(output.dtype).reshape(output.shape)]

    def _of_bytes(self, node: Node, x: np.ndarray) -> np.ndarray:
        powers = _padded(self.exponentials(node))[_distances(x)]
        total = _sums(powers)
        zeros = leading_zeros(total)
        reciprocal = one_over_one_plus((total << zeros) - (1 << 31))
        product = saturating_rounding_doubling_high_mul(reciprocal, powers)
        shift = _SUM_INTEGER_BITS - zeros + 31 - self.bits(node)
        return rounding_divide_by_pot(product, shift) + node.output.zero_point

    def _of_halves(self, node: Node, x: np.ndarray) -> np.ndarray:
        """Exponentials, and the sum's reciprocal, by interpolation: `SoftmaxInt16` of TFLite's reference/softmax.h."""
        scaled = multiply_by_quantized_multiplier(-_distances(x), *quantize_multiplier(self.real_scale(node)))
        powers = interpolated.look_up(halves_of_exp(), np.clip(scaled + 32767, -32768, 32767))
        total = powers.sum(axis=1, keepdims=True)
        zeros = leading_zeros(total)
        beyond = (((total << (zeros - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16)
        reciprocal = interpolated.look_up(halves_of_reciprocal(), np.clip(beyond, -32768, 32767))
        shift = 31 - zeros
        return np.maximum((powers * reciprocal + (np.int64(1) << (shift - 1))) >> shift, 0)


def halves_of_exp() -> np.ndarray:
    """exp(x) for codes that stand for x from -10 to 0: int16 [513], scale 2 / 65535."""
    return interpolated.samples(np.exp, _INTERPOLATED / _RANGE, 2.0 / _RANGE, 32767, np.float64)


def halves_of_reciprocal() -> np.ndarray:
    """1 / (1 + x) for codes that stand for x from 0 to 1: int16 [513], scale 2 / 65535."""
    return interpolated.samples(lambda x: np.asarray(1 / (1 + x)), 1.0 / _RANGE, 2.0 / _RANGE, -32768, np.float64)


@dataclass(frozen=True, kw_only=True)
class LogSoftmax(_OfRows):
    """The logarithm of softmax. Input: int8 or float32; int8 output has scale 1/16 and zero point 127."""

    KIND: ClassVar[str] = "log_softmax"

    def check(self, node: Node) -> None:
        super().check(node)
        x, output = node.input(0), node.output
        if x.is_float:
            return
        node.require(x.dtype == output.dtype == np.int8, "only int8 and float32 are supported")
        node.require(output.scale == 1 / 16 and output.zero_point == 127, "output must have scale 1/16, zero point 127")
        multiplier, shift, _ = self.scaling(node)
        large = shift > 1 or (shift == 1 and multiplier > 1 << 30)
        node.require(large, f"its input's scale {x.scale:.3g} is too small")
        # The sum of as many powers fits Q12.
        node.require(x.shape[-1] < 1 << _SUM_INTEGER_BITS, f"rows of {x.shape[-1]:,} elements are longer than 4,095")

    def back(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift) from Q5 to codes."""
        multiplier, shift, _ = self.scaling(node)
        return quantize_multiplier((1 << (31 - shift)) / multiplier)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, output = values[0].reshape(-1, node.output.shape[-1]), node.output
        if output.is_float:
            shifted = x.astype(np.float64) - x.max(axis=1, keepdims=True)
            result = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            return [result.astype(np.float32).reshape(output.shape)]
        multiplier, shift, reach = self.scaling(node)
        below = _distances(x)
        total = logarithm(_sums(_padded(self.exponentials(node))[below]))
        # What is further below has the least code; Q5 would not hold it.
        limit = np.maximum(-reach - 1, multiply_by_quantized_multiplier(total + INT32_MIN, *self.back(node)))
        scaled = multiply_by_quantized_multiplier(-below, multiplier, shift)
        codes = rounding_divide_by_pot(scaled - total, 22) + output.zero_point
        return [np.clip(np.where(-below > limit, codes, -128), -128, 127).astype(np.int8).reshape(output.shape)]
