"""Figures as text."""

from __future__ import annotations

from typing import Any

import pytest

from tinygen.bench.figures import rate, ratio_text, rounds_otherwise


def test_rates_and_ratios_as_text() -> None:
    assert [rate(*counts) for counts in ((10, 4), (10, None), (0, 4), (10, 0))] == ["2.500", "", "", ""]
    assert [ratio_text(ratio) for ratio in (None, 0.5, 9.99, 10.0, 123.45)] == ["", "0.50", "9.99", "10.0", "123.5"]


@pytest.mark.parametrize(
    ("fields", "otherwise"),
    [({}, True), ({"max_abs_diff": 0}, False), ({"encoding": "float32"}, False), ({"error": "no"}, False)],
)
def test_codes_round_otherwise_and_floats_never(fields: dict[str, Any], otherwise: bool) -> None:
    assert rounds_otherwise({"error": None, "max_abs_diff": 1, "encoding": "int8"} | fields) == otherwise
