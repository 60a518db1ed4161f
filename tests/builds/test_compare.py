"""When floats of two runtimes count as equal."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.builds.compare import Comparison, differing

_INF, _NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("first", "second", "where"),
    [
        ([1.0, 1000.0], [1.009, 1000.0], None),
        ([1.0, 1000.0], [1.011, 1000.0], (0,)),
        ([0.0, 0.0], [0.0, -0.0], None),
        ([0.0, 0.0], [0.0, 1e-40], (1,)),
        ([_INF, -_INF, _NAN], [_INF, -_INF, _NAN], None),
        ([_INF, 1.0], [_INF, 2.0], (1,)),
        ([_INF, 1.0], [3e38, 1.0], (0,)),
        ([_NAN, 1.0], [_NAN, 2.0], (1,)),
        ([_NAN, 1.0], [0.0, 1.0], (0,)),
    ],
)
def test_floats(first: list[float], second: list[float], where: tuple[int, ...] | None) -> None:
    """Within a small part of the largest finite one; what is infinite or NaN must be that in both."""
    assert differing(np.array(first, np.float32), np.array(second, np.float32)) == where


def test_what_is_infinite_is_counted() -> None:
    """The report is written, with the largest difference of finite values."""
    comparison = Comparison("semantics", "host")
    comparison.add(0, [np.array([_INF, 1.0, _NAN], np.float32)], [np.array([2.0, 1.5, _NAN], np.float32)])
    assert comparison.as_json()["mismatches"] == 1 and comparison.as_json()["max_abs_diff"] == 0.5
