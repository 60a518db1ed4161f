"""Intervals of measured by predicted cycles per core, from published programs (intervals.yaml).

The file is made by `python -m tests.timing.published --write` of the points in tests/timing/points.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

INTERVALS = Path(__file__).with_name("intervals.yaml")
LEAST, LEAST_PROGRAMS = 3, 2
"""Smallest numbers of points and programs: with two points Student's factor is 6.3, too wide to be useful; one program
says nothing about others.
"""
_STUDENT = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753)
"""95 % of Student's t with 1, 2, ... degrees of freedom are below it; with more than the last, still fewer."""


@dataclass(frozen=True)
class Interval:
    """Measured cycles by predicted ones: 90 % of programs are between `low` and `high`.

    Attributes:
        points: published measurements it comes from.
        programs: how many different programs (frameworks and libraries) these are; points of one resemble each other.
    """

    points: int
    programs: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{percent(self.low)} to {percent(self.high)} %"


def percent(ratio: float) -> str:
    """1.12 is +12, 0.8 is −20."""
    return f"{round(100 * (ratio - 1)):+d}".replace("-", "−")


def interval_from(programs: Sequence[Sequence[float]]) -> Interval | None:
    """The 90 % prediction interval for one more program; None if there are too few.

    The prediction interval of a normal distribution whose mean and deviation are those of the logarithms, with
    Student's factor for their number: exp(m ± t s sqrt(1 + 1/k)). k is the number of programs, not of points, and each
    program counts the same: what its compiler and its port do, all its points share. The interval is wider than the
    range of few points, and not about 1 where predictions are off to one side.

    Args:
        programs: measured by predicted, of the points of each.
    """
    count = sum(map(len, programs))
    if count < LEAST or len(programs) < LEAST_PROGRAMS:
        return None
    logs = [(math.log(ratio), 1 / len(one) / len(programs)) for one in programs for ratio in one]
    middle = sum(weight * log for log, weight in logs)
    variance = sum(weight * (log - middle) ** 2 for log, weight in logs) * count / (count - 1)
    factor = _STUDENT[min(count - 1, len(_STUDENT)) - 1]
    margin = factor * math.sqrt(variance * (1 + 1 / len(programs)))
    return Interval(count, len(programs), *(round(math.exp(middle + sign * margin), 3) for sign in (-1, 1)))


def interval_of(core: str) -> Interval | None:
    """The interval of a core's predictions; None if too little was published."""
    return _intervals().get(core)


@cache
def _intervals() -> dict[str, Interval]:
    content: dict[str, Any] = yaml.safe_load(INTERVALS.read_text(encoding="utf-8"))
    return {core: Interval(**entry) for core, entry in content.items()}


def as_yaml(intervals: dict[str, Interval]) -> str:
    """Text of intervals.yaml."""
    head = "# Measured cycles by predicted ones, 90 % of programs. Made by: python -m tests.timing.published --write\n"
    content = {core: asdict(one) for core, one in intervals.items()}
    return head + yaml.safe_dump(content, default_flow_style=None, sort_keys=False)
