"""Which additions make the sums of a layer, and when halves are added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tinygen.lowering.kernels.conv.stream_order import (
    Costs,
    Phase,
    digit_count,
    plan_phases,
    signed_digits,
    split_taps,
)

COSTS = Costs(1.5, 10.0)


def test_signed_digits() -> None:
    values = np.arange(-600, 601)
    digits = signed_digits(values)
    assert np.array_equal(np.tensordot(2 ** np.arange(len(digits)), digits.astype(np.int64), 1), values)
    assert not np.any((digits[1:] != 0) & (digits[:-1] != 0)), "no two neighbours are both there"
    assert digit_count(np.array([7, -7, 0, 64, 3])) == 2 + 2 + 0 + 1 + 2


def test_digits_are_the_fewest() -> None:
    """Against all sums of up to three signed powers."""
    powers = [sign << k for k in range(9) for sign in (1, -1)]
    sums = {0: 0}
    for terms in (1, 2, 3):
        for value in list(sums):
            for power in powers:
                sums.setdefault(value + power, terms)
    for value in range(-127, 128):
        assert digit_count(np.array([value])) == sums.get(value, 4), value


def weights_of(phases: Sequence[Phase], filters: int, taps: int) -> np.ndarray:
    made = np.zeros((filters, taps), np.int64)
    for phase in phases:
        for tap in phase.taps:
            for term in tap.terms:
                made[term.accumulator, tap.index] += (-1 if term.minus else 1) << (term.shift + phase.shift)
    return made


def ends_of(phase: Phase, filters: int, taps: int, low: int, high: int) -> tuple[int, int]:
    """The least and the largest half that the phase can give."""
    made = weights_of([Phase(0, phase.taps)], filters, taps)
    positive, negative = np.maximum(made, 0).sum(axis=1), np.minimum(made, 0).sum(axis=1)
    least, largest = min(low, 0), max(high, 0)
    return int((positive * least + negative * largest).min()), int((positive * largest + negative * least).max())


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 255), (0, 3), (-127, 127), (-1, 1)])
def test_phases_make_the_weights(low: int, high: int) -> None:
    rng = np.random.default_rng(high)
    for values in ([-1, 0, 1], [0, 1, -2, 4, -8, 16, -32, 64], list(range(-127, 128)), [0]):
        weights = rng.choice(values, (5, 400))
        phases = plan_phases(weights, low, high, COSTS)
        assert phases is not None
        assert np.array_equal(weights_of(phases, 5, 400), weights)
        for phase in phases:
            least, largest = ends_of(phase, 5, 400, low, high)
            assert least >= -(2**15) and largest < 2**15, (values, phase.shift)
            assert [tap.index for tap in phase.taps] == sorted({tap.index for tap in phase.taps})


def test_small_sums_are_one_phase() -> None:
    assert len(plan_phases(np.full((3, 255), -1), -128, 127, COSTS) or ()) == 1
    assert len(plan_phases(np.full((3, 257), -1), -128, 127, COSTS) or ()) == 2
    assert len(plan_phases(np.full((3, 1000), 3), 0, 3, COSTS) or ()) == 1


def test_common_factors_are_taken_out() -> None:
    (phase,) = plan_phases(np.full((1, 200), 64), -128, 127, COSTS) or ()
    assert phase.shift == 6 and all(term.shift == 0 for tap in phase.taps for term in tap.terms)


def test_products_beyond_a_half() -> None:
    assert plan_phases(np.array([[1 << 20, 1]]), -128, 127, COSTS) is not None, "each exponent by itself"
    assert plan_phases(np.array([[1]]), 0, 40000, COSTS) is None


def test_pieces() -> None:
    (phase,) = plan_phases(np.ones((4, 250), np.int64), -128, 127, COSTS) or ()
    parts = split_taps(phase.taps, [18] * 250, 1000)
    assert [tap for part in parts for tap in part] == list(phase.taps)
    assert len(parts) == 5 and max(map(len, parts)) - min(map(len, parts)) <= 1
    assert split_taps(phase.taps[:1], [5000], 1000) == [phase.taps[:1]]
