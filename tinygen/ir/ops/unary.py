"""Elementwise functions of one input. Their 8-bit forms are tables in C, computed with `evaluate`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import (
    Activation,
    exp_like_libm,
    float_activation_range,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    quantized_activation_range,
    round_half_away,
    rounding_divide_by_pot,
)
from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape

LOGISTIC_CUTOFF = -9.0


@dataclass(frozen=True, kw_only=True)
class Unary(Op):
    """Input: int8 (or int16 for clamps) or float32, any shape."""

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return Stripe(self, ((first, end),))

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(x.dtype == output.dtype, "input and output must have one type")
        if x.is_float:
            return
        for tensor in (x, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized and tensor.dtype == np.int8, f"'{tensor.name}' is {tensor.encoding}, not int8")
        with np.errstate(all="ignore"):
            node.require_multipliers(self.real_scales(node))

    def real_scales(self, node: Node) -> tuple[float, ...]:
        """Multipliers of the integer form, in single precision, as LiteRT computes them."""
        return (float(np.float32(1.0) / np.float32(node.output.scale)),)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        if node.output.is_float:
            return [self.real(values[0].astype(np.float64)).astype(np.float32)]
        return [np.clip(self.integer(node, values[0].astype(np.int64)), -128, 127).astype(np.int8)]

    @abstractmethod
    def real(self, x: np.ndarray) -> np.ndarray:
        """The function on real numbers."""

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        """The function on codes, not yet clamped. Default: LiteRT's float table, ties away from zero."""
        x = np.float32(node.input(0).scale) * (codes - node.input(0).zero_point).astype(np.float32)
        y = self.tabulated(x).astype(np.float32)
        inverse = np.float32(1.0) / np.float32(node.output.scale)
        return round_half_away(y * inverse).astype(np.int64) + node.output.zero_point

    def tabulated(self, x: np.ndarray) -> np.ndarray:
        """The function as LiteRT fills its tables with it, in single precision."""
        return self.real(x)


@dataclass(frozen=True, kw_only=True)
class Clamp(Unary):
    """RELU, RELU6, RELU_N1_TO_1 as operators of their own: rescale, then clamp."""

    KIND: ClassVar[str] = "clamp"

    activation: Activation

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x, *float_activation_range(self.activation))

    def real_scales(self, node: Node) -> tuple[float, ...]:
        return (_ratio(node),)

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        x, output = node.input(0), node.output
        scaled = multiply_by_quantized_multiplier(codes - x.zero_point, *quantize_multiplier(_ratio(node)))
        low, high = quantized_activation_range(self.activation, output)
        return np.clip(scaled + output.zero_point, low, high)


@dataclass(frozen=True, kw_only=True)
class LeakyRelu(Unary):
    """x where x >= 0, alpha * x elsewhere."""

    KIND: ClassVar[str] = "leaky_relu"

    alpha: float

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, x * np.float32(self.alpha))

    def real_scales(self, node: Node) -> tuple[float, ...]:
        slope = np.float32(node.input(0).scale) * np.float32(self.alpha) / np.float32(node.output.scale)
        return _ratio(node), float(slope)

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        x, output = node.input(0), node.output
        centred = codes - x.zero_point
        identity, slope = self.real_scales(node)
        positive = multiply_by_quantized_multiplier(centred, *quantize_multiplier(identity))
        sign = -1 if slope < 0 else 1
        negative = sign * multiply_by_quantized_multiplier(centred, *quantize_multiplier(abs(slope)))
        return np.where(centred >= 0, positive, negative) + output.zero_point


@dataclass(frozen=True, kw_only=True)
class Logistic(Unary):
    """1 / (1 + exp(-x)); on floats below -9, LiteRT's reference takes exp(x) alone."""

    KIND: ClassVar[str] = "logistic"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < LOGISTIC_CUTOFF, exp_like_libm(np.minimum(x, 0)), self.tabulated(x))

    def tabulated(self, x: np.ndarray) -> np.ndarray:
        return 1 / (1 + exp_like_libm(-x))


@dataclass(frozen=True, kw_only=True)
class Tanh(Unary):
    """tanh(x)"""

    KIND: ClassVar[str] = "tanh"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x.astype(np.float64)).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Gelu(Unary):
    """x times the probability that a standard normal variable is at most x.

    Attributes:
        approximate: with tanh: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) (Hendrycks and Gimpel, 2016).
    """

    KIND: ClassVar[str] = "gelu"

    approximate: bool

    def real(self, x: np.ndarray) -> np.ndarray:
        if self.approximate:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * _erfc(-x * math.sqrt(0.5))

    def tabulated(self, x: np.ndarray) -> np.ndarray:
        if self.approximate:
            root, cubic, one, half = map(np.float32, (math.sqrt(2 / math.pi), 0.044715, 1.0, 0.5))
            inner = root * (x + cubic * x * x * x)
            return np.asarray(half * x * (one + np.tanh(inner.astype(np.float64)).astype(np.float32)))
        return np.asarray(np.float32(0.5) * x * _erfc(-x * np.float32(math.sqrt(0.5))).astype(np.float32))


def _erfc(x: np.ndarray) -> np.ndarray:
    return np.array([math.erfc(value) for value in x.reshape(-1).tolist()]).reshape(x.shape)


@dataclass(frozen=True, kw_only=True)
class Elu(Unary):
    """x where x >= 0, exp(x) - 1 elsewhere."""

    KIND: ClassVar[str] = "elu"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, np.expm1(np.minimum(x, 0).astype(np.float64)), x).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class HardSwish(Unary):
    """x * clamp(x + 3, 0, 6) / 6"""

    KIND: ClassVar[str] = "hard_swish"

    def check(self, node: Node) -> None:
        super().check(node)
        if not node.output.is_float:
            # Right shifts of 16-bit operands.
            shifts = [quantize_multiplier(real)[1] for real in self.real_scales(node)]
            node.require(min(shifts) >= -15, "its scales are too far apart")

    def real(self, x: np.ndarray) -> np.ndarray:
        return x * np.clip(x + 3, 0, 6) / 6

    def real_scales(self, node: Node) -> tuple[float, ...]:
        high_scale = np.float32(1.0 / 128.0) * np.float32(node.input(0).scale)
        return float(high_scale / np.float32(node.output.scale)), float(high_scale / np.float32(3.0 / 32768.0))

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        """LiteRT's 16-bit form: x with 7 extra bits, times a clamped ramp of 15 bits."""
        (gain, gain_shift), (slope, slope_shift) = map(_multiplier16, self.real_scales(node))
        high = (codes - node.input(0).zero_point) * 128
        ramp = _saturate16(high << (slope_shift - 1)) if slope_shift > 0 else high
        ramp = _rounding_high_mul16(ramp, slope)
        if slope_shift > 0:
            ramp = _saturate16(ramp << 1)
        elif slope_shift < 0:
            ramp = rounding_divide_by_pot(ramp, -slope_shift)
        ramp = (ramp + (1 << 15)) >> 1
        product = ramp * _rounding_high_mul16(high, gain)
        truncated = np.sign(product) * (np.abs(product) >> 15)
        if gain_shift > 0:
            return _saturate16(truncated << gain_shift) + node.output.zero_point
        return rounding_divide_by_pot(truncated, -gain_shift) + node.output.zero_point


def _ratio(node: Node) -> float:
    """input scale / output scale, in single precision."""
    return float(np.float32(node.input(0).scale) / np.float32(node.output.scale))


def _multiplier16(real: float) -> tuple[int, int]:
    """A multiplier of 15 bits and its exponent."""
    multiplier, shift = quantize_multiplier(real)
    return (0x7FFF if multiplier >= 2**31 - 1 - (1 << 15) else (multiplier + (1 << 15)) >> 16), shift


def _saturate16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -32768, 32767)


def _rounding_high_mul16(a: np.ndarray, b: int) -> np.ndarray:
    """a * b / 2**15 as in gemmlowp, ties away from zero: adds a half with the product's sign, then truncates."""
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.minimum(np.sign(nudged) * (np.abs(nudged) >> 15), 32767)


@dataclass(frozen=True, kw_only=True)
class Abs(Unary):
    """|x|"""

    KIND: ClassVar[str] = "abs"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.abs(x)

    def real_scales(self, node: Node) -> tuple[float, ...]:
        return (_ratio(node),)

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        x, output = node.input(0), node.output
        magnitude = np.abs(codes - x.zero_point)
        if x.scale != output.scale:
            magnitude = multiply_by_quantized_multiplier(magnitude, *quantize_multiplier(_ratio(node)))
        return magnitude + output.zero_point


@dataclass(frozen=True, kw_only=True)
class Neg(Unary):
    """-x"""

    KIND: ClassVar[str] = "neg"

    def real(self, x: np.ndarray) -> np.ndarray:
        return -x
