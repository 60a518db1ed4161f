"""Differences of accuracies, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Two-sided 95 % quantiles of Student's t, of 1 to 9 degrees of freedom."""


@dataclass(frozen=True)
class Difference:
    """Of two networks over the same seeds, in points.

    Attributes:
        mean: of the differences.
        margin: half of the 95 % confidence interval; infinite for one seed.
    """

    mean: float
    margin: float

    @property
    def verdict(self) -> str:
        """A tie unless the interval leaves out zero."""
        if abs(self.mean) <= self.margin:
            return "tie"
        return "better" if self.mean > 0 else "worse"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.margin:.2f}, {self.verdict}"


def difference(accuracies: Sequence[float], others: Sequence[float]) -> Difference:
    """Of accuracies of the same seeds, in order; positive where the first are better."""
    return interval([one - other for one, other in zip(accuracies, others, strict=True)])


def interval(differences: Sequence[float]) -> Difference:
    """Of differences, one for each seed."""
    count = len(differences)
    if count < 2:
        return Difference(fmean(differences), math.inf)
    student = _STUDENT[min(count - 1, len(_STUDENT)) - 1]
    return Difference(fmean(differences), student * stdev(differences) / math.sqrt(count))
