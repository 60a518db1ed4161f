"""Elementwise functions of one input: activations, and the base of all.

Their 8-bit forms are tables in C, computed with `evaluate`; 16-bit forms are LiteRT's, which are not all of one kind.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np

from tinygen.ir import interpolated, sigmoid_16
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    Activation,
    exp_like_libm,
    float_activation_range,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    quantized_activation_range,
    round_half_away,
    rounding_divide_by_pot,
)
from tinygen.ir.ops.base import LATER, Node, Op, Stripe
from tinygen.ir.tensor import Shape

LOGISTIC_CUTOFF = -9.0


@dataclass(frozen=True, kw_only=True)
class Unary(Op):
    """Input: int8 or float32, any shape; int16 with zero point 0 where `HALVES` says so."""

    HALVES: ClassVar[bool] = False
    """Whether there is a form of 16-bit codes."""

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return Stripe(self, ((first, end),))

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(x.dtype == output.dtype, "input and output must have one type")
        if x.is_float:
            return
        types = (np.int8, np.int16) if self.HALVES else (np.int8,)
        names = "int8 or int16" if self.HALVES else "int8"
        for tensor in (x, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized and tensor.dtype in types, f"'{tensor.name}' is {tensor.encoding}, not {names}")
        symmetric = output.dtype == np.int8 or x.zero_point == output.zero_point == 0
        node.require(symmetric, "16-bit codes must have zero point 0")
        with np.errstate(all="ignore"):
            node.require_multipliers(self.real_scales(node))

    def real_scales(self, node: Node) -> tuple[float, ...]:
        """Multipliers of the integer form, in single precision, as LiteRT computes them."""
        return (float(np.float32(1.0) / np.float32(node.output.scale)),)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        output = node.output
        with np.errstate(all="ignore"):
            if output.is_float:
                return [self.real(values[0].astype(np.float64)).astype(np.float32)]
            codes = self.integer(node, values[0].astype(np.int64))
        return [np.clip(codes, *output.code_range).astype(output.dtype)]

    @abstractmethod
    def real(self, x: np.ndarray) -> np.ndarray:
        """The function on real numbers."""

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        """The function on codes, not yet clamped.

        Default: LiteRT's float table, ties away from zero; of int16 codes its interpolated one.
        """
        if node.output.dtype == np.int16:
            return interpolated.look_up(self.samples(node), codes)
        x = np.float32(node.input(0).scale) * (codes - node.input(0).zero_point).astype(np.float32)
        y = self.tabulated(node, x).astype(np.float32)
        inverse = np.float32(1.0) / np.float32(node.output.scale)
        rounded = round_half_away(y * inverse).astype(np.float64)
        # Beyond 32 bits LiteRT's conversion to an integer is undefined in C++; here it saturates.
        return np.clip(np.nan_to_num(rounded), INT32_MIN, INT32_MAX).astype(np.int64) + node.output.zero_point

    def samples(self, node: Node) -> np.ndarray:
        """The table of the form of int16 codes."""
        return interpolated.samples(partial(self.tabulated, node), node.input(0).scale, node.output.scale)

    def tabulated(self, node: Node, x: np.ndarray) -> np.ndarray:
        """The function as LiteRT fills its tables with it, in single precision."""
        return self.real(x)


@dataclass(frozen=True, kw_only=True)
class Bent(Unary):
    """A function of two straight lines that meet at zero: codes are rescaled, on either side by a factor of its own."""

    HALVES: ClassVar[bool] = True
    FOLDED: ClassVar[bool] = False
    """Whether the sign is dropped first: what is rounded is never negative."""

    @abstractmethod
    def slopes(self, node: Node) -> tuple[float, float]:
        """Output codes per input code, for x >= 0 and for x < 0, in single precision."""

    def real_scales(self, node: Node) -> tuple[float, ...]:
        return self.slopes(node)

    def bounds(self, node: Node) -> tuple[int, int]:
        """The clamp, in codes of the output."""
        return node.output.code_range

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        centred, zero = codes - node.input(0).zero_point, node.output.zero_point
        centred = np.abs(centred) if self.FOLDED else centred
        above, below = (_rescaled(centred, slope) for slope in self.slopes(node))
        return np.clip(np.where(centred >= 0, above, below) + zero, *self.bounds(node))


def _rescaled(centred: np.ndarray, slope: float) -> np.ndarray:
    """Multiplied in fixed point, by the absolute value: LiteRT's multipliers have no sign."""
    scaled = multiply_by_quantized_multiplier(centred, *quantize_multiplier(abs(slope)))
    return -scaled if slope < 0 else scaled


@dataclass(frozen=True, kw_only=True)
class Clamp(Bent):
    """RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1 as operators of their own: rescale, then clamp."""

    KIND: ClassVar[str] = "clamp"

    activation: Activation

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x, *float_activation_range(self.activation))

    def slopes(self, node: Node) -> tuple[float, float]:
        return _ratio(node), _ratio(node)

    def bounds(self, node: Node) -> tuple[int, int]:
        return quantized_activation_range(self.activation, node.output)


@dataclass(frozen=True, kw_only=True)
class LeakyRelu(Bent):
    """x where x >= 0, alpha * x elsewhere."""

    KIND: ClassVar[str] = "leaky_relu"

    alpha: float

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, x * np.float32(self.alpha))

    def slopes(self, node: Node) -> tuple[float, float]:
        below = np.float32(node.input(0).scale) * np.float32(self.alpha) / np.float32(node.output.scale)
        return _ratio(node), float(below)


@dataclass(frozen=True, kw_only=True)
class Abs(Bent):
    """|x|"""

    KIND: ClassVar[str] = "abs"
    FOLDED: ClassVar[bool] = True

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.abs(x)

    def slopes(self, node: Node) -> tuple[float, float]:
        return _ratio(node), _ratio(node)


@dataclass(frozen=True, kw_only=True)
class Sigmoidal(Unary):
    """A function that the 16-bit table of `sigmoid_16` gives; its 16-bit codes have scale 2**-15."""

    HALVES: ClassVar[bool] = True
    MOST_SHIFT: ClassVar[int]

    def check(self, node: Node) -> None:
        super().check(node)
        if node.output.dtype == np.int16:
            near = abs(math.log2(node.output.scale) + 15) < 1e-3
            node.require(near, f"a 16-bit output of scale {node.output.scale:.6g}, not 2^-15")
            node.require(self.scaling(node).fits, f"an input scale of {node.input(0).scale:.6g} cannot be interpolated")

    def scaling(self, node: Node) -> sigmoid_16.Scaling:
        """Of 16-bit codes."""
        return sigmoid_16.scaling(node.input(0).scale, self.MOST_SHIFT)


@dataclass(frozen=True, kw_only=True)
class Logistic(Sigmoidal):
    """1 / (1 + exp(-x)); on floats below -9, LiteRT's reference takes exp(x) alone."""

    KIND: ClassVar[str] = "logistic"
    MOST_SHIFT: ClassVar[int] = 0

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < LOGISTIC_CUTOFF, exp_like_libm(np.minimum(x, 0)), _sigmoid(x))

    def tabulated(self, node: Node, x: np.ndarray) -> np.ndarray:
        return _sigmoid(x)

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        if node.output.dtype == np.int16:
            return sigmoid_16.logistic(codes, self.scaling(node))
        return super().integer(node, codes)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + exp_like_libm(-x)))


@dataclass(frozen=True, kw_only=True)
class Tanh(Sigmoidal):
    """tanh(x)"""

    KIND: ClassVar[str] = "tanh"
    MOST_SHIFT: ClassVar[int] = 1

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x.astype(np.float64)).astype(x.dtype)

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        if node.output.dtype == np.int16:
            return sigmoid_16.tanh(codes, self.scaling(node))
        return super().integer(node, codes)


@dataclass(frozen=True, kw_only=True)
class Gelu(Unary):
    """x times the probability that a standard normal variable is at most x.

    Attributes:
        approximate: with tanh: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) (Hendrycks and Gimpel, 2016).
    """

    KIND: ClassVar[str] = "gelu"
    HALVES: ClassVar[bool] = True

    approximate: bool

    def real(self, x: np.ndarray) -> np.ndarray:
        if self.approximate:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * _erfc(-x * math.sqrt(0.5))

    def tabulated(self, node: Node, x: np.ndarray) -> np.ndarray:
        if self.approximate:
            root, cubic, one, half = map(np.float32, (math.sqrt(2 / math.pi), 0.044715, 1.0, 0.5))
            inner = root * (x + cubic * x * x * x)
            return np.asarray(half * x * (one + np.tanh(inner.astype(np.float64)).astype(np.float32)))
        return np.asarray(np.float32(0.5) * x * _erfc(-x * np.float32(math.sqrt(0.5))).astype(np.float32))


def _erfc(x: np.ndarray) -> np.ndarray:
    return np.array([math.erfc(value) for value in x.reshape(-1).tolist()]).reshape(x.shape)


@dataclass(frozen=True, kw_only=True)
class Elu(Unary):
    """x where x >= 0, exp(x) - 1 elsewhere.

    Attributes:
        alpha: what exp(x) - 1 is multiplied with.
        scale: what both are multiplied with (SELU: Klambauer et al., "Self-Normalizing Neural Networks", 2017).
    """

    KIND: ClassVar[str] = "elu"

    alpha: float = field(default=1.0, metadata=LATER, repr=False)
    scale: float = field(default=1.0, metadata=LATER, repr=False)

    def real(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        return (self.scale * np.where(x < 0, self.alpha * np.expm1(np.minimum(wide, 0)), wide)).astype(x.dtype)


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
class Neg(Unary):
    """-x"""

    KIND: ClassVar[str] = "neg"

    def real(self, x: np.ndarray) -> np.ndarray:
        return -x
