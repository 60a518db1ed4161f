"""Fixed-point multipliers that round exactly as double precision does."""

from __future__ import annotations

import numpy as np

from tinygen.ir.fixed_point import multiply_by_real, quantize_multiplier

LARGEST_INPUT = 2**31 - 1
LARGEST_RESULT = 2**30
"""Beyond these a fixed-point product would not fit 64 bits, or its result 32."""


def fits_fixed_point(real: float, least: int, largest: int) -> bool:
    """Whether products of `real` with x in [least, largest] can be computed with a 31-bit multiplier."""
    reach = max(abs(least), abs(largest))
    return reach <= LARGEST_INPUT and reach * real < LARGEST_RESULT


def exact_multiplier(real: float, least: int, largest: int, low: int, high: int) -> tuple[int, int] | None:
    """(multiplier, shift) with which one rounding, upwards at ties, equals double precision.

    f(x) = (x * multiplier + 2**(30 - shift)) >> (31 - shift) and round(x * real) both grow with x. So they agree
    everywhere if each result k is first reached at the same x, which bounds the multiplier from both sides:
    f(x) >= k is x * multiplier >= (2k - 1) * 2**(30 - shift).

    Args:
        real: the multiplier to imitate, ties away from zero.
        least, largest: every x lies between them.
        low, high: results beyond these are clamped to them.

    Returns:
        None if no multiplier of 31 bits does.
    """
    if not fits_fixed_point(real, least, largest):
        return None
    guess, shift = quantize_multiplier(real)
    if guess == 0:
        return 0, 0
    ends = multiply_by_real(np.array([least, largest]), real)
    results = np.arange(max(low, int(ends[0])) + 1, min(high, int(ends[1]) + 1) + 1, dtype=np.int64)
    first = _first_reaching(results, real)
    borders = (2 * results - 1) << (30 - shift)
    reached = first <= largest
    at_least, at_most = _reaching(np.maximum(first, least)[reached], borders[reached])
    missed = first > least
    below = _missing(np.minimum(first - 1, largest)[missed], borders[missed])
    at_least, at_most = max(at_least, below[0], 2**30), min(at_most, below[1], 2**31 - 1)
    if at_least > at_most:
        return None
    return min(max(guess, at_least), at_most), shift


def _first_reaching(results: np.ndarray, real: float) -> np.ndarray:
    """The smallest integer x with round(x * real) >= result, for each result."""
    x = np.ceil((results - 0.5) / real).astype(np.int64) + 2
    for _ in range(4):
        x = np.where(multiply_by_real(x - 1, real) >= results, x - 1, x)
    return x


def _reaching(x: np.ndarray, borders: np.ndarray) -> tuple[int, int]:
    """Bounds of the m for which x * m >= border, for all pairs. x = 0 reaches borders below 0 with any m."""
    up, down = x > 0, x < 0
    at_least = -(-borders[up] // x[up])
    at_most = borders[down] // x[down]
    return int(at_least.max(initial=0)), int(at_most.min(initial=2**31))


def _missing(x: np.ndarray, borders: np.ndarray) -> tuple[int, int]:
    """Bounds of the m for which x * m < border, for all pairs. x = 0 misses borders above 0 with any m."""
    up, down = x > 0, x < 0
    at_most = (borders[up] - 1) // x[up]
    at_least = -((borders[down] - 1) // -x[down])
    return int(at_least.max(initial=0)), int(at_most.min(initial=2**31))
