"""Fixed-point arithmetic of TFLite's reference kernels, on NumPy arrays.

Sources: the gemmlowp fixed-point definitions and TFLite's quantization specification
(Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", 2018, section 2.2). All functions take and give int64 arrays holding int32 values unless
they say otherwise.
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from tinygen.ir.tensor import Tensor

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


class Rounding(Enum):
    """How a 32-bit accumulator is scaled: LiteRT's reference kernels do not all do the same."""

    TWICE = "twice"
    """Doubling high multiply, then a shift, each rounded (gemmlowp)."""
    REAL = "real"
    """The product with the real multiplier in double precision, ties away from zero."""
    UPWARDS = "upwards"
    """As TWICE, but the shift rounds halves upwards (what LiteRT's optimised kernels do here and there)."""
    NARROW = "narrow"
    """TWICE for 16x8 layers, too, whose sums have 32 bits then, as those with a bias of 32 bits have in LiteRT."""


class Activation(Enum):
    """An activation fused into the operator before it."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    RELU_N1_TO_1 = "relu_n1_to_1"
    RELU_0_TO_1 = "relu_0_to_1"


_REAL_RANGE = {
    Activation.RELU: (0.0, math.inf),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
    Activation.RELU_0_TO_1: (0.0, 1.0),
}


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with real ~= multiplier * 2**(shift - 31), multiplier in [2**30, 2**31).

    Zero, and values too small to have an effect, give (0, 0).
    """
    if real == 0.0:
        return 0, 0
    mantissa, shift = math.frexp(real)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return INT32_MAX, 30
    return multiplier, shift


def multiplier_fits(real: float) -> bool:
    """Whether `quantize_multiplier` can represent it: TFLite's kernels shift 32-bit words left by 30 at most; larger
    shifts are undefined in C++.
    """
    return math.isfinite(real) and abs(real) <= 2.0**30 - 1


def wrap_int32(x: np.ndarray) -> np.ndarray:
    """What a 32-bit register would hold."""
    return np.asarray(x, np.int64).astype(np.int32).astype(np.int64)


def rounding_divide_by_pot(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """x / 2**exponent, ties away from zero."""
    x = np.asarray(x, np.int64)
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


def rounding_divide_by_pot_upwards(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """x / 2**exponent, ties upwards."""
    exponent = np.asarray(exponent, np.int64)
    return np.asarray((np.asarray(x, np.int64) + ((np.int64(1) << exponent) >> 1)) >> exponent)


def saturating_rounding_doubling_high_mul(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """High 32 bits of 2*a*b, rounded; only INT32_MIN * INT32_MIN saturates."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, INT32_MAX)


def multiply_by_quantized_multiplier(
    x: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int, upward: np.ndarray | bool = False
) -> np.ndarray:
    """x * multiplier * 2**(shift - 31) with TFLite's two roundings (int32 accumulators).

    With `upward`, the second rounds ties upwards instead of away from zero.
    """
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    shifted = wrap_int32(np.asarray(x, np.int64) << left)
    high = saturating_rounding_doubling_high_mul(shifted, multiplier)
    away = rounding_divide_by_pot(high, right)
    return np.where(upward, rounding_divide_by_pot_upwards(high, right), away) if np.any(upward) else away


def multiply_by_real(x: np.ndarray, real: np.ndarray | float) -> np.ndarray:
    """x * real in double precision, ties away from zero, saturated to int32.

    Beyond int32, LiteRT casts a double that does not fit (undefined in C++); here it saturates.
    """
    product = np.asarray(x, np.float64) * real
    return np.clip(round_half_away(product), INT32_MIN, INT32_MAX).astype(np.int64)


def multiply_by_quantized_multiplier_64(
    x: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int
) -> np.ndarray:
    """The same for int64 accumulators (16x8): a 16-bit multiplier and one rounding, upwards at ties."""
    multiplier = np.asarray(multiplier, np.int64)
    reduced = np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - np.asarray(shift, np.int64)
    product = np.asarray(x, np.int64) * reduced + (np.int64(1) << (total - 1))
    return product >> total


def exp_like_libm(x: np.ndarray) -> np.ndarray:
    """exp() in x's own precision, rounded as a C library's is: NumPy's single-precision one is off by up to 2 ulp."""
    with np.errstate(over="ignore"):
        return np.exp(x.astype(np.float64)).astype(x.dtype)


def float_activation_range(activation: Activation) -> tuple[float, float]:
    """Clamp of a fused activation on real values."""
    return _REAL_RANGE.get(activation, (-math.inf, math.inf))


def round_half_away(x: np.ndarray | np.floating | float) -> np.ndarray:
    """C's round(): ties away from zero."""
    x = np.asarray(x)
    # Adding 0.5 before truncating would round up the largest number below 0.5.
    whole = np.trunc(x)
    with np.errstate(invalid="ignore"):
        return np.asarray(whole + np.copysign(x.dtype.type(1), x) * (np.abs(x - whole) >= 0.5))


def quantized_activation_range(activation: Activation, output: Tensor) -> tuple[int, int]:
    """Clamp of a fused activation in codes of `output` (float32 arithmetic, as TFLite's)."""
    info = np.iinfo(output.dtype)
    low, high = int(info.min), int(info.max)
    if activation in _REAL_RANGE:
        scale, (real_low, real_high) = np.float32(output.scale), _REAL_RANGE[activation]
        low = max(low, output.zero_point + _saturated_code(real_low, scale))
        if math.isfinite(real_high):
            high = min(high, output.zero_point + _saturated_code(real_high, scale))
    return low, high


def _saturated_code(real: float, scale: np.float32) -> int:
    """real / scale, rounded and clamped to int32: with a tiny scale the quotient may be infinite."""
    with np.errstate(over="ignore"):
        quotient = np.float32(real) / scale
    return int(np.clip(round_half_away(quotient).astype(np.float64), INT32_MIN, INT32_MAX))
