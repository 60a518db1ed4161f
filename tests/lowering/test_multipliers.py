"""Fixed-point multipliers that imitate double precision, against double precision itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygen.ir.fixed_point import multiply_by_real, round_half_away
from tinygen.lowering.ctypes import double_literal
from tinygen.lowering.kernels.support.epilogues.multipliers import exact_multiplier, fits_fixed_point

WIDTH = 4000


def rounded_once(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """tg_requantize_once of tinygen_math.h."""
    return (x * multiplier + (1 << (30 - shift))) >> (31 - shift)


def check(real: float, least: int, largest: int, low: int, high: int) -> bool:
    """Every x between the bounds comes out the same; False when there is no multiplier."""
    pair = exact_multiplier(real, least, largest, low, high)
    if pair is None:
        return False
    x = np.arange(least, largest + 1, dtype=np.int64)
    want, got = multiply_by_real(x, real), rounded_once(x, *pair)
    assert np.array_equal(np.clip(want, low, high), np.clip(got, low, high)), (real, least, largest, pair)
    return True


@st.composite
def bounds(draw: st.DrawFn, centre: int) -> tuple[int, int]:
    middle = draw(st.integers(-centre, centre))
    return middle - draw(st.integers(0, WIDTH)), middle + draw(st.integers(0, WIDTH))


@given(st.floats(-40, 20), bounds(2**30), st.integers(-255, 0), st.integers(0, 255))
def test_any_scale(exponent: float, ends: tuple[int, int], low: int, high: int) -> None:
    check(2.0**exponent, *ends, low, high)


@given(st.floats(-10, 4), bounds(2**16), st.integers(-255, 0), st.integers(0, 255))
def test_accumulators_of_small_layers_have_one(exponent: float, ends: tuple[int, int], low: int, high: int) -> None:
    assert check(2.0**exponent, *ends, low, high)


@given(st.integers(-20, 8), st.sampled_from([1, 3, 5, 7, 1 / 3, 1 / 6, 5 / 7]), bounds(2**22), st.integers(-128, 127))
def test_ties_go_away_from_zero(exponent: int, factor: float, ends: tuple[int, int], zero: int) -> None:
    real = 2.0**exponent * factor
    assume(fits_fixed_point(real, *ends))
    assert check(real, *ends, -128 - zero, 127 - zero)


@given(st.integers(-8, 4), bounds(2**20))
def test_sixteen_bit_results(exponent: int, ends: tuple[int, int]) -> None:
    check(2.0**exponent, *ends, -32768, 32767)


@pytest.mark.parametrize("real", [0.5, 1.5, 2.0**-20, 1e-12, 0.1, 1 / 3])
def test_usual_scales_have_one(real: float) -> None:
    assert check(real, -50000, 50000, -128, 127)


def test_a_single_accumulator() -> None:
    assert exact_multiplier(1e30, 0, 0, -128, 127) is not None
    assert check(0.25, 2, 2, -128, 127)
    assert check(0.25, -2, -2, -128, 127)


def test_none_beyond_32_bits() -> None:
    assert exact_multiplier(1.0, 0, 2**31, -128, 127) is None
    assert exact_multiplier(1e6, -(2**16), 0, -128, 127) is None


def test_just_below_a_half() -> None:
    assert round_half_away(0.49999999999999994) == 0
    assert round_half_away(np.float32(-0.49999997)) == 0
    assert round_half_away(np.array([0.5, -0.5, 1.5, -2.5])).tolist() == [1, -1, 2, -3]


@pytest.mark.parametrize("value", [1.0, -3.0, 0.1, 1e-300, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 123456789.0])
def test_double_literals_read_back(value: float) -> None:
    text = double_literal(value)
    assert float(text) == value
    assert "." in text or "e" in text
