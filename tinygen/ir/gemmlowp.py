"""The fixed-point exponential and reciprocal of gemmlowp, which TFLite's integer softmax is built on.

A value of type Qm is an int32 with m integer bits: real = raw / 2**(31 - m). All functions take and give
int64 arrays of such raw values. (gemmlowp, fixedpoint/fixedpoint.h: the algorithms and constants are
part of the arithmetic's definition.)
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)

_EXP_MINUS_EIGHTH = 1895147668
_THIRD = 715827883
# exp(-2**k) in Q0, for k = -2 .. 4.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_DIFF_FRACTION_BITS = 26
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540


def _shift_left_saturating(x: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(np.asarray(x, np.int64) << bits, INT32_MIN, INT32_MAX)


def _exp_of_small(a: np.ndarray) -> np.ndarray:
    """exp(a) in Q0 for a in [-1/4, 0), Q0: Taylor's polynomial of degree 4 around -1/8."""
    mul = saturating_rounding_doubling_high_mul
    x = a + (1 << 28)
    x2 = mul(x, x)
    x3, x4 = mul(x2, x), mul(x2, x2)
    tail = rounding_divide_by_pot(mul(rounding_divide_by_pot(x4, 2) + x3, _THIRD) + x2, 1)
    return np.clip(_EXP_MINUS_EIGHTH + mul(x + tail, _EXP_MINUS_EIGHTH), INT32_MIN, INT32_MAX)


def exp_on_negative_values(a: np.ndarray) -> np.ndarray:
    """exp(a) in Q0 for a <= 0 in Q5."""
    a = np.asarray(a, np.int64)
    quarter = 1 << (_DIFF_FRACTION_BITS - 2)
    small = (a & (quarter - 1)) - quarter
    result = _exp_of_small(_shift_left_saturating(small, 5))
    rest = small - a
    for exponent, factor in enumerate(_EXP_OF_POWERS, start=-2):
        chosen = (rest >> (_DIFF_FRACTION_BITS + exponent)) & 1
        result = np.where(chosen, saturating_rounding_doubling_high_mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def one_over_one_plus(a: np.ndarray) -> np.ndarray:
    """1 / (1 + a) in Q0 for a in [0, 1), Q0: three steps of Newton and Raphson's division."""
    mul = saturating_rounding_doubling_high_mul
    half_denominator = (np.asarray(a, np.int64) + INT32_MAX + 1) >> 1
    x = _48_OVER_17 + mul(half_denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 29) - mul(half_denominator, x)
        x = x + _shift_left_saturating(mul(x, error), 2)
    return _shift_left_saturating(x, 1)


def leading_zeros(x: np.ndarray) -> np.ndarray:
    """Of 32-bit words without a sign; 32 of zero."""
    return 32 - np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def reciprocal(x: np.ndarray, integer_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """1 / x for x > 0 with so many integer bits: (mantissa in Q0, bits of x above one) (TFLite's `GetReciprocal`)."""
    zeros = leading_zeros(x)
    return one_over_one_plus((np.asarray(x, np.int64) << zeros) - (1 << 31)), integer_bits - zeros


_HALF_ROOT_OF_2 = 1518500250
_ONE_AND_A_HALF = (1 << 28) + (1 << 27)


def inverse_square_root(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / sqrt(x) of integers x >= 0 as (multiplier, shift) of `multiply_by_quantized_multiplier`; of 0 as of 1.

    Five steps of Newton and Raphson's iteration on x scaled to [1/2, 2) (TFLite's `GetInvSqrtQuantizedMultiplierExp`).
    """
    x = np.asarray(x, np.int64)
    shift = np.full(x.shape, 11, np.int64)
    mul = saturating_rounding_doubling_high_mul
    scaled = np.maximum(x, 2)
    while np.any(scaled >= 1 << 29):
        large = scaled >= 1 << 29
        scaled, shift = np.where(large, scaled // 4, scaled), shift + large
    pairs = (leading_zeros(scaled) - 1) // 2 - 1
    scaled, shift = scaled << (2 * pairs), shift - pairs
    half = rounding_divide_by_pot(scaled >> 1, 1)
    root: np.ndarray = np.full(x.shape, 1 << 28, np.int64)
    for _ in range(5):
        cube = _shift_left_saturating(mul(mul(root, root), root), 6)
        root = _shift_left_saturating(mul(root, _ONE_AND_A_HALF) - mul(half, cube), 3)
    root = mul(root, _HALF_ROOT_OF_2)
    multiplier = np.where(shift < 0, root << np.maximum(-shift, 0), root)
    one = x <= 1
    return np.where(one, INT32_MAX, multiplier), np.where(one, 0, -np.maximum(shift, 0))


_LOG_2, _ROOT_OF_ROOT_HALF, _QUARTER_Q6 = 1488522236, 1805811301, 1 << 23
# 11/240, 1/20 and 1/4 times the fourth root of 2, and 2 over that root less the root.
_ALPHA_N, _ALPHA_D, _ALPHA_F, _ALPHA_I = 117049297, 127690142, 638450708, 1057819769


def logarithm(x: np.ndarray) -> np.ndarray:
    """The natural logarithm in Q5 of x >= 1 in Q12, by a quotient of polynomials around a power of the root of 2.

    TFLite's `log_x_for_x_greater_than_or_equal_to_1_impl`.
    """
    mul, x = saturating_rounding_doubling_high_mul, np.asarray(x, np.int64)
    zeros = leading_zeros(x)
    # As 2**k times r, r near the root of the root of 1/2: k is a whole number and a quarter, or less a quarter.
    first = _shift_left_saturating(mul(x << (zeros - 1), _HALF_ROOT_OF_2), 1)
    headroom = leading_zeros(mul(x, _HALF_ROOT_OF_2)) - 1
    second = np.clip(x << headroom, INT32_MIN, INT32_MAX)
    power = np.maximum(((12 - zeros) << 25) + _QUARTER_Q6, ((12 - headroom) << 25) - _QUARTER_Q6)
    r = np.minimum(first, second)
    p, q = (r + _ROOT_OF_ROOT_HALF + 1) >> 1, 2 * (r - _ROOT_OF_ROOT_HALF)
    square = mul(q, q)
    numerator = mul(q, r) + mul(mul(q, square), _ALPHA_N)
    denominator = mul(p, _ALPHA_I + q + mul(square, _ALPHA_D)) + mul(q, _ALPHA_F)
    quotient = mul(rounding_divide_by_pot(numerator, 6), one_over_one_plus(denominator))
    return _shift_left_saturating(mul(power, _LOG_2) + quotient, 1)
