"""False rejects and accepts on made-up scores, and the intervals."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.support.torch_models import need
from tinygen.apps.wakeword.det import Scored, best_at, count_detections, per_hour, share, sliding_sums

# Half an hour: 3,600 steps of half a second.
SUMS = np.zeros(3600, np.int64)
SUMS[[10, 11, 12, 500, 503, 900]] = [700, 900, 700, 300, 400, 1200]
SCORED = Scored(size=5, best=np.array([1275, 1000, 800, 350]), sums=SUMS, hours=0.5, pause=4)


@pytest.mark.parametrize(
    ("threshold", "missed", "accepted"), [(0, 0, 3), (299, 0, 3), (350, 1, 3), (700, 1, 2), (900, 2, 1), (1200, 3, 0)]
)
def test_a_point(threshold: int, missed: int, accepted: int) -> None:
    point = SCORED.at(threshold)
    assert (point.missed, point.accepted) == (missed, accepted)
    assert point.false_rejects.value == missed / 4
    assert point.false_accepts.value == accepted / 0.5
    assert point.cutoff == threshold / 1280


def test_the_curve_falls_and_holds_every_change() -> None:
    curve = SCORED.curve()
    seen = {(point.missed, point.accepted) for point in curve}
    assert seen == {(SCORED.at(t).missed, SCORED.at(t).accepted) for t in range(1276)}
    assert [p.threshold for p in curve] == sorted(p.threshold for p in curve)
    assert all(a.accepted >= b.accepted and a.missed <= b.missed for a, b in itertools.pairwise(curve))


def test_the_fewest_rejects_within_what_is_allowed() -> None:
    curve = SCORED.curve()
    for allowed, missed in ((6.0, 0), (5.0, 1), (4.0, 1), (2.0, 2), (1.0, 3)):
        point = best_at(curve, allowed)
        assert point is not None and point.missed == missed
    assert best_at(curve[:1], 0.5) is None


def test_detections_close_to_each_other_are_one() -> None:
    assert count_detections(np.array([0, 9, 0, 0, 9, 0, 0, 0, 9]), 5, 3) == 2
    assert count_detections(np.array([9, 0, 9]), 5, 1) == 2
    assert count_detections(np.zeros(5), 5, 3) == 0


def test_a_network_that_always_detects_is_no_good_one() -> None:
    sums = np.full(3600, 640)
    assert count_detections(sums, 639, 4) == 720
    stuck = Scored(size=5, best=np.full(20, 640), sums=sums, hours=0.5, pause=4)
    assert best_at(stuck.curve(), 2.0).missed == 20  # type: ignore[union-attr]


def test_a_lower_threshold_never_accepts_less() -> None:
    sums = np.random.default_rng(0).integers(0, 100, 2000)
    counts = [count_detections(sums, threshold, 7) for threshold in range(100)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[98] > counts[99] == 0


def test_sliding_sums_are_those_of_the_last_codes() -> None:
    codes = np.array([-128, 127, 0, -128, 5], np.int8)
    assert sliding_sums(codes, 3).tolist() == [0, 0, 383, 383, 261]
    assert sliding_sums(codes, 1).tolist() == [0, 255, 128, 0, 133]


def test_intervals_are_the_published_ones() -> None:
    # Clopper and Pearson, 0 of n: 1 - (0.025)^(1/n). Garwood: 0 events, 3.689; 10 events, 4.795 to 18.39.
    assert share(0, 20).high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert (share(0, 20).low, share(20, 20).high) == (0.0, 1.0)
    assert share(20, 20).low == pytest.approx(0.025 ** (1 / 20))
    assert (share(5, 50).low, share(5, 50).high) == (pytest.approx(0.0333, abs=1e-4), pytest.approx(0.2181, abs=1e-4))
    assert per_hour(0, 2.0).high == pytest.approx(3.689 / 2, abs=1e-3)
    assert (per_hour(10, 1.0).low, per_hour(10, 1.0).high) == (
        pytest.approx(4.795, abs=1e-3),
        pytest.approx(18.39, abs=0.01),
    )


def test_nothing_counted_is_nothing_known() -> None:
    assert math.isnan(share(0, 0).value) and (share(0, 0).low, share(0, 0).high) == (0.0, 1.0)
    assert math.isnan(per_hour(0, 0.0).value) and math.isinf(per_hour(0, 0.0).high)


def test_the_picture_says_what_the_table_says() -> None:
    """A cutoff without false accepts stands at zero, however short the sound was; the others at their rates."""
    need("matplotlib")
    from tinygen.apps.wakeword.evaluate import Evaluation
    from tinygen.apps.wakeword.plot import det_figure

    for hours in (0.08, 0.5, 2.0):
        curve = tuple(replace(point, hours=hours) for point in SCORED.curve())
        (axes,) = det_figure([Evaluation("int8", point, curve, 0, 1) for point in curve], "title").axes
        lines, dots = axes.lines[::2], axes.lines[1::2]
        assert [dot.get_xdata()[0] for dot in dots] == [point.false_accepts.value for point in curve]
        assert dots[-1].get_xdata()[0] == 0.0 == axes.get_xticks()[0]
        assert list(lines[0].get_xdata()) == [point.false_accepts.value for point in curve]
        assert axes.get_xlim()[0] < 0 and axes.xaxis.get_major_formatter()(0.0, 0) == "0"
