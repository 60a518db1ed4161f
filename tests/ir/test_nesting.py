"""Codes of few bits out of codes of more, against the definition in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from tinygen.errors import UnsupportedError
from tinygen.ir.nesting import derived_codes, nests

PAIRS = [(wide, narrow) for wide in range(1, 17) for narrow in range(1, wide + 1) if wide % narrow == 0]


def rounded(t: Fraction, bits: int) -> int:
    return math.floor((2**bits - 1) * t + Fraction(1, 2))


@pytest.mark.parametrize(("wide", "narrow"), PAIRS)
def test_derived_codes_are_those_of_the_definition(wide: int, narrow: int) -> None:
    """At the boundaries of both grids (half up: they belong to the upper code), beside them, and anywhere."""
    rng = np.random.default_rng(wide)
    ends = [(2**bits - 1, j) for bits in (wide, narrow) for j in rng.integers(0, 2**bits, 200)]
    boundaries = [Fraction(2 * int(j) + 1, 2 * steps) for steps, j in ends if 2 * j + 1 <= 2 * steps]
    near = Fraction(1, 10**9)
    values = [b + d for b in boundaries for d in (-near, 0, near) if 0 <= b + d <= 1]
    values += [Fraction(int(n), 2**53) for n in rng.integers(0, 2**53, 500)] + [
        Fraction(0),
        Fraction(1, 2),
        Fraction(1),
    ]
    codes = np.array([rounded(t, wide) for t in values], np.uint16)
    assert derived_codes(codes, wide, narrow).tolist() == [rounded(t, narrow) for t in values]


def test_known_codes() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(2, 128)
    four = derived_codes(codes, 8, 4)
    assert four.shape == (2, 128) and four.dtype == np.uint8
    assert np.array_equal(four, (codes.astype(int) + 8) // 17) and four[0, 15] == 1 != 15 >> 4
    assert np.array_equal(derived_codes(codes, 8, 1), codes >> 7)
    assert np.array_equal(derived_codes(four, 4, 2), derived_codes(codes, 8, 2)), "step by step is at once"
    assert np.array_equal(derived_codes(codes, 8, 8), codes)


def test_the_next_lower_division_is_no_derivation() -> None:
    """3 bits are no function of 8: two values of one 8-bit code have different 3-bit codes."""
    assert not nests(8, 3) and not nests(4, 8) and nests(6, 3)
    pairs = {
        code: {rounded(Fraction(code * 2 + part, 510), 3) for part in (Fraction(-1), Fraction(99, 100))}
        for code in range(1, 255)
    }
    assert any(len(found) == 2 for found in pairs.values())


def test_bad_input() -> None:
    codes = np.arange(4, dtype=np.uint8)
    with pytest.raises(UnsupportedError, match="3 bits are no function of those of 8"):
        derived_codes(codes, 8, 3)
    with pytest.raises(UnsupportedError, match="8 bits are no function of those of 4"):
        derived_codes(codes, 4, 8)
    with pytest.raises(UnsupportedError, match="codes from 0 to 3 have more than 1 bits"):
        derived_codes(codes, 1, 1)
