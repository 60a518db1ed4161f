"""The Pareto front of made-up points, and the picture."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tests.support.torch_models import need
from tinygen.apps.classify.pareto import FLASH, cost_axis, draw, front_of, pareto_front
from tinygen.apps.classify.tested import Row

need("matplotlib")

ROW = Row(
    "int8",
    "",
    980,
    1000,
    0,
    981,
    {"min": 1.0, "median": 1.0, "max": 1.0},
    7.5,
    2500.0,
    (1800.0, 3300.0),
    "predicted",
    50_000,
    24_000,
)


def _rows(*points: tuple[str, str, int, float, int]) -> list[Row]:
    return [
        replace(ROW, choice=choice, switch=switch, correct=correct, microjoules=energy, flash_bytes=flash)
        for choice, switch, correct, energy, flash in points
    ]


ROWS = _rows(
    ("int8", "", 983, 2524.0, 51_824),
    ("w4", "", 980, 2530.0, 38_200),
    ("xnor", "", 975, 785.0, 28_120),
    ("pruned", "", 975, 700.0, 28_700),
    ("switchable", "w8a8", 980, 2647.0, 128_168),
    ("switchable", "w1a1_x0_5", 946, 413.0, 128_168),
)


def test_front_of_made_up_points() -> None:
    assert pareto_front([]) == []
    assert pareto_front([(1, 1)]) == [0]
    assert pareto_front([(1, 1), (2, 2), (3, 3)]) == [0, 1, 2]
    assert pareto_front([(3, 3), (1, 3), (2, 2)]) == [1]  # cheaper and as good
    assert pareto_front([(1, 1), (1, 2)]) == [1]  # as cheap and better
    assert pareto_front([(1, 1), (1, 1), (2, 0)]) == [0, 1]  # equal ones do not beat each other
    assert pareto_front([(2, 5), (1, 4), (4, 5), (3, 6)]) == [1, 0, 3]


def test_front_of_random_points_is_what_it_says() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        points = [(int(cost), int(gain)) for cost, gain in rng.integers(0, 12, (20, 2))]
        front = pareto_front(points)
        for index, (cost, gain) in enumerate(points):
            beaten = [i for i, (c, g) in enumerate(points) if c <= cost and g >= gain and (c, g) != (cost, gain)]
            assert (index in front) == (not beaten)
        assert all(points[a] <= points[b] for a, b in pairwise(front))


def test_rows_on_the_front() -> None:
    axis = cost_axis(ROWS)
    assert axis is not None and axis.key == "microjoules"
    assert [row.name for row in front_of(ROWS, axis)] == ["w1a1_x0_5", "pruned", "int8"]


def test_no_front_where_one_accuracy_is_not_known() -> None:
    rows = [*ROWS, replace(ROWS[0], correct=None)]
    assert rows[-1].accuracy is None and front_of(rows, cost_axis(rows)) == []


def test_flash_is_drawn_in_kib() -> None:
    assert FLASH.of(replace(ROW, flash_bytes=3 * 1024)) == 3


def test_latency_where_a_current_is_not_known() -> None:
    rows = [replace(row, microjoules=None) for row in ROWS]
    axis = cost_axis(rows)
    assert axis is not None and axis.key == "milliseconds" and "predicted" in axis.title
    assert cost_axis([replace(row, milliseconds=None) for row in rows]) is None
    assert front_of([replace(row, correct=None) for row in ROWS], axis) == []


def test_picture() -> None:
    """Every row is named, but switches once where they cost the same."""
    drawn = draw(ROWS, "Digits on a board", 0.984)
    assert drawn["png"].startswith(b"\x89PNG")
    text = drawn["svg"].decode()
    words = re.findall(r">([^<>\n]+)</text>", text)
    for row in ROWS:
        assert words.count(row.name) >= (1 if row.switch else 3), row.name  # two panels and the legend
    assert "switchable: 2 switches" in words
    assert "Digits on a board" in words and "float, PyTorch: 98.4 %" in words
    assert any("energy per inference" in word for word in words) and any("flash" in word for word in words)


def test_picture_of_one_firmware() -> None:
    """All of its switches cost the same flash: an axis of one value, and no warning of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw([row for row in ROWS if row.switch], "x")["png"]


def test_picture_of_few_figures() -> None:
    """Without energy, flash or a float network; points upon each other. The same figures give the same bytes."""
    bare = [replace(row, microjoules=None, flash_bytes=None, correct=1000) for row in ROWS[:2]]
    assert draw(bare, "x") == draw(bare, "x")
