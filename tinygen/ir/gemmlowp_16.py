"""The sigmoid and the hyperbolic tangent of gemmlowp in 16 bits, which TFLite's integer LSTM has.

A value of type Qm is an int16 with m integer bits: real = raw / 2**(15 - m). All functions take and give int64 arrays
of such raw values. (gemmlowp, fixedpoint/fixedpoint.h: the algorithms and constants are part of the arithmetic's
definition; gemmlowp.py has those of 32 bits.)
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.fixed_point import rounding_divide_by_pot

LARGEST = 2**15 - 1
EXP_MINUS_EIGHTH, THIRD = 28918, 10923
EXP_OF_POWERS = (25520, 19875, 12055, 4435, 600, 11, 0)
"""exp(-2**k) in Q0, for k = -2 .. 4."""
_48_OVER_17, _MINUS_32_OVER_17 = 23130, -15420
_CLAMPED_FROM = 6
"""Integer bits from which on exp() is 0 where gemmlowp's barrel shifter has no factor."""


def _wrapped(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.int64).astype(np.int16).astype(np.int64)


def _mul(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """a * b of Q0, rounded; only -1 * -1 saturates."""
    return np.minimum((np.asarray(a, np.int64) * b + (1 << 14)) >> 15, LARGEST)


def _shift_left_saturating(x: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(np.asarray(x, np.int64) << bits, -LARGEST - 1, LARGEST)


def _exp_of_small(a: np.ndarray) -> np.ndarray:
    """exp(a) in Q0 for a in [-1/4, 0), Q0."""
    x = a + (1 << 12)
    x2 = _mul(x, x)
    x3, x4 = _mul(x2, x), _mul(x2, x2)
    tail = rounding_divide_by_pot(_mul(rounding_divide_by_pot(x4, 2) + x3, THIRD) + x2, 1)
    return np.clip(EXP_MINUS_EIGHTH + _mul(x + tail, EXP_MINUS_EIGHTH), -LARGEST - 1, LARGEST)


def exp_on_negative_values(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(a) in Q0 for a <= 0 with so many integer bits."""
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    small = (a & (quarter - 1)) - quarter
    result = _exp_of_small(_shift_left_saturating(small, integer_bits))
    rest = _wrapped(small - a)
    for exponent, factor in zip(range(-2, min(integer_bits, 5)), EXP_OF_POWERS, strict=False):
        result = np.where((rest >> (fraction_bits + exponent)) & 1, _mul(result, factor), result)
    if integer_bits >= _CLAMPED_FROM:
        result = np.where(a < -(32 << fraction_bits), 0, result)
    return np.where(a == 0, LARGEST, result)


def _over_one_plus(a: np.ndarray) -> np.ndarray:
    """2 / (1 + a) in Q2 for a in [0, 1), Q0: three steps of Newton and Raphson's division."""
    half_denominator = (a + LARGEST + 1) >> 1
    x = _48_OVER_17 + _mul(half_denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 13) - _mul(half_denominator, x)
        x = _wrapped(x + _shift_left_saturating(_mul(x, error), 2))
    return x


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) in Q0 of codes in Q3."""
    x = np.asarray(x, np.int64)
    positive = _shift_left_saturating(_over_one_plus(exp_on_negative_values(-np.abs(x), 3)), 1)
    return np.where(x == 0, 1 << 14, np.where(x > 0, positive, LARGEST - positive))


def tanh(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """In Q0, of codes with so many integer bits."""
    x = np.asarray(x, np.int64)
    exponential = exp_on_negative_values(-np.abs(x), integer_bits + 1)
    positive = _shift_left_saturating(_over_one_plus(exponential) - (1 << 13), 2)
    return np.where(x == 0, 0, np.where(x > 0, positive, -positive))
