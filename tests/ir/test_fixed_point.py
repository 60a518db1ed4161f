"""Multipliers and roundings, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tinygen.ir.fixed_point import (
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    rounding_divide_by_pot_upwards,
    saturating_rounding_doubling_high_mul,
)

JUST_BELOW = [2.0**power * (1 - 2.0**-33) for power in range(-30, 30, 7)]
REALS = [*np.exp(np.random.default_rng(2).uniform(-20, 20, 200)).tolist(), *JUST_BELOW, 0.5, 1.0, 2.0**-31]


@pytest.mark.parametrize("real", REALS)
def test_a_multiplier_is_the_nearest_of_31_bits(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert abs(multiplier * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(real) / 2**31


def test_multipliers_at_the_ends() -> None:
    assert quantize_multiplier(0.0) == (0, 0) and quantize_multiplier(2.0**-40) == (0, 0)
    assert quantize_multiplier(1e12) == (2**31 - 1, 30)


def _nearest(value: Fraction, *, upwards: bool = False) -> int:
    """Ties away from zero, or upwards."""
    whole = (value + Fraction(1, 2)).__floor__()
    tie = (value + Fraction(1, 2)).denominator == 1
    return whole - 1 if tie and value < 0 and not upwards else whole


def test_roundings() -> None:
    values = [*range(-40, 41), 2**31 - 1, -(2**31)]
    for exponent in range(6):
        exact = [Fraction(value, 2**exponent) for value in values]
        assert rounding_divide_by_pot(np.array(values), exponent).tolist() == [_nearest(value) for value in exact]
        found = rounding_divide_by_pot_upwards(np.array(values), exponent)
        assert found.tolist() == [_nearest(value, upwards=True) for value in exact]
    assert round_half_away(np.array([0.5, -0.5, 1.5, -2.5, 0.49999997])).tolist() == [1, -1, 2, -3, 0]
    high = saturating_rounding_doubling_high_mul(np.array([-(2**31), 2**30, -3]), np.array([-(2**31), 1, 2**30]))
    assert high.tolist() == [2**31 - 1, 1, -1]
