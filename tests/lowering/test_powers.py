"""Thresholds that are powers of a line: what is fitted is right on every accumulator, and what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.ir.epilogue import Threshold
from tinygen.lowering.kernels.support.epilogues.powers import fit_powers

REACH = 6000
NEVER, ALWAYS = 2**31 - 1, -(2**31)


def powers(rng: np.random.Generator, count: int, each: int, channels: int) -> np.ndarray:
    """The least integers that are not below powers from a random beginning, int64 [channels, count]."""
    size = rng.uniform(0.3, 40) * rng.uniform(1, 2, (channels, 1))
    begin = rng.uniform(-REACH, REACH, (channels, 1)) / 2
    return np.ceil(begin + size * 2.0 ** (np.arange(count) / each)).astype(np.int64)


def expected(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    return Threshold(tuple(map(tuple, rows.tolist()))).apply(x)


@pytest.mark.parametrize(("count", "each"), [(7, 1), (15, 1), (7, 2), (15, 2)])
def test_every_accumulator(count: int, each: int) -> None:
    """Of channels that reach some thresholds, all of them, or none."""
    rng = np.random.default_rng([count, each])
    x, fitted = np.arange(-REACH, REACH + 1), 0
    for _ in range(12):
        rows = np.concatenate([powers(rng, count, each, 6), np.full((1, count), NEVER), np.full((1, count), ALWAYS)])
        lows, highs = np.full(8, -REACH), np.full(8, REACH)
        lows[0], highs[1] = rows[0, 1], rows[1, -2]
        found = fit_powers(rows, lows, highs)
        if found is None:
            continue
        fitted += 1
        assert len(found.lines) == each and found.bits == count.bit_length()
        sums = np.clip(x[:, None], lows, highs)
        assert np.array_equal(found.codes(sums), expected(rows, sums))
    assert fitted >= 8


@pytest.mark.parametrize("each", [1, 2])
def test_moved_thresholds(each: int) -> None:
    """Whatever moves: it is refused, or right."""
    rng = np.random.default_rng(each)
    x, refused = np.arange(-REACH, REACH + 1)[:, None], 0
    for step in range(30):
        rows = powers(rng, 7, each, 1)
        rows[0, rng.integers(7)] += rng.integers(-1 - 2 * step, 2 + 2 * step)
        rows = np.sort(rows, axis=1)
        found = fit_powers(rows, np.array([-REACH]), np.array([REACH]))
        refused += found is None
        assert found is None or np.array_equal(found.codes(x), expected(rows, x))
    assert 3 < refused < 29


def test_wide_sums() -> None:
    """Thresholds far apart: exact at each of them, where doubles of the formula would be rounded."""
    rng, ends = np.random.default_rng(0), np.full(16, 2**28)
    for each in (1, 2):
        size = rng.uniform(2**10, 2**11, (16, 1))
        rows = np.ceil(rng.uniform(-(2**20), 2**20, (16, 1)) + size * 2.0 ** (np.arange(15) / each)).astype(np.int64)
        found = fit_powers(rows, -ends, ends)
        assert found is not None
        for sums in (rows.T, rows.T - 1):
            assert np.array_equal(found.codes(sums), expected(rows, sums))


@pytest.mark.parametrize("each", [1, 2])
def test_sums_of_16_bits_by_16(each: int) -> None:
    """Near 2^31, of channels whose octaves are up to 64 times as long as others': each has a beginning of its own."""
    rng, ends = np.random.default_rng(each), np.full(16, int(1.6e9))
    size = 2 ** rng.uniform(*((9, 15) if each == 1 else (16, 21)), (16, 1))
    rows = np.ceil(rng.uniform(-(2**25), 2**25, (16, 1)) + size * 2.0 ** (np.arange(15) / each)).astype(np.int64)
    found = fit_powers(rows, -ends, ends)
    assert found is not None and len(found.lines) == each and len(set(found.first.tolist())) > 1
    for sums in (rows.T, rows.T - 1, rows.T * 3 // 4):
        assert np.array_equal(found.codes(sums), expected(rows, sums))


def test_what_is_refused() -> None:
    ends = np.array([REACH])
    counted = np.array([[100 * i for i in range(15)]])
    assert fit_powers(counted, -ends, ends) is None, "even thresholds"
    rising = np.ceil(3 * 2.0 ** np.arange(10)).astype(np.int64)[None, :]
    assert fit_powers(rising, -ends, ends) is None, "codes that no number of bits saturates"
    assert fit_powers(rising[:, :7], -ends, ends) is not None
    ends = np.array([2**31 - 2**16])
    assert fit_powers(rising[:, :7], -ends, ends) is None, "sums without room"
    ends = np.array([REACH])
    assert fit_powers(np.full((1, 7), NEVER), -ends, ends) is None, "nothing reached"
