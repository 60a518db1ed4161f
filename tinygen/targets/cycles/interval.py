"""What measured cycles lie between, beside predicted ones: per core, from published programs (intervals.yaml).

The file is made by `python -m tests.timing.published --write` of the points in tests/timing/points.yaml.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

INTERVALS = Path(__file__).with_name("intervals.yaml")
LEAST = 3
"""Points. Of two, Student's factor is 6.3 and an interval says nothing."""
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


def interval_from(ratios: Sequence[float], programs: int) -> Interval | None:
    """Where one more program would be, with a probability of 90 %; None where there are too few to say.

    The prediction interval of a normal distribution whose mean and deviation are those of the logarithms, with
    Student's factor for their number: exp(m ± t s sqrt(1 + 1/k)). k is the number of programs, not of points: what one
    program's compiler and port do to its mean, all its points share. The interval is wider than the range of few
    points, and not about 1 where predictions are off to one side.

    Args:
        ratios: measured by predicted.
        programs: see `Interval`.
    """
    count = len(ratios)
    if count < LEAST:
        return None
    logs = [math.log(ratio) for ratio in ratios]
    factor = _STUDENT[min(count - 1, len(_STUDENT)) - 1]
    margin = factor * statistics.stdev(logs) * math.sqrt(1 + 1 / programs)
    middle = statistics.fmean(logs)
    return Interval(count, programs, *(round(math.exp(middle + sign * margin), 3) for sign in (-1, 1)))


def interval_of(core: str) -> Interval | None:
    """Of a core's predictions; None where too little was published."""
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
