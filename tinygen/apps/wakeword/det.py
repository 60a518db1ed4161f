"""False rejects against false accepts, with confidence intervals.

A device sums its last N output codes and detects the phrase if the sum is above a threshold; everything here is
computed from these integer sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
CODES = 256
"""A probability is (code + 128) / 256."""


@dataclass(frozen=True)
class Rate:
    """A rate and its confidence interval, of level CONFIDENCE."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Point:
    """Error rates at a threshold.

    Attributes:
        threshold: sums above it are detections.
        cutoff: the threshold as a mean probability.
        missed, phrases: number of phrases not detected, and of all phrases.
        accepted, hours: number of detections in sound without the phrase, and its duration.
    """

    threshold: int
    cutoff: float
    missed: int
    phrases: int
    accepted: int
    hours: float

    @property
    def false_rejects(self) -> Rate:
        """Share of missed phrases, 0 to 1, with the interval of Clopper and Pearson."""
        return share(self.missed, self.phrases)

    @property
    def false_accepts(self) -> Rate:
        """False accepts per hour, with Garwood's exact interval of a Poisson rate."""
        return per_hour(self.accepted, self.hours)

    def as_json(self) -> dict[str, Any]:
        rates = {"false_rejects": self.false_rejects.as_json(), "false_accepts_per_hour": self.false_accepts.as_json()}
        return asdict(self) | rates


@dataclass(frozen=True, eq=False)
class Scored:
    """A network's outputs on a part of the data, as sums over a sliding window.

    Attributes:
        size: of the sliding window, in steps.
        best: int64 [phrases], the largest sum around the end of each phrase.
        sums: int64 [steps] of a stream without the phrase.
        hours: duration of that stream.
        pause: number of steps after a detection in which further detections are not counted.
    """

    size: int
    best: np.ndarray
    sums: np.ndarray
    hours: float
    pause: int

    def at(self, threshold: int) -> Point:
        """The error rates at that threshold."""
        missed = int(np.count_nonzero(self.best <= threshold))
        accepted = count_detections(self.sums, threshold, self.pause)
        return Point(threshold, cutoff_of(threshold, self.size), missed, len(self.best), accepted, self.hours)

    def curve(self) -> list[Point]:
        """Points at all thresholds where rates change, from the lowest with less than one false accept a minute."""
        highest = int(max(self.best.max(initial=0), self.sums.max(initial=0)))
        points: list[Point] = []
        for threshold in range(highest, -1, -1):
            point = self.at(threshold)
            if point.accepted > 60 * self.hours:
                break
            if not points or (point.missed, point.accepted) != (points[-1].missed, points[-1].accepted):
                points.append(point)
        return points[::-1]


def sliding_sums(codes: np.ndarray, size: int) -> np.ndarray:
    """Sums of the last `size` outputs, each minus the lowest code; 0 for the first `size` - 1 steps.

    Args:
        codes: int8 [steps].

    Returns:
        int64 [steps].
    """
    total = np.concatenate([[0], np.cumsum(codes.astype(np.int64) + 128)])
    sums = np.zeros(len(codes), np.int64)
    sums[size - 1 :] = total[size:] - total[:-size]
    return sums


def cutoff_of(threshold: int, size: int) -> float:
    """The mean probability that corresponds to a sum."""
    return threshold / (CODES * size)


def count_detections(sums: np.ndarray, threshold: int, pause: int) -> int:
    """Number of detections; those at most `pause` steps after a counted one are not counted.

    Continuous detection counts again after every pause: otherwise the worst network would have the fewest detections.
    """
    above = np.flatnonzero(sums > threshold)
    count, place = 0, 0
    while place < above.size:
        count += 1
        place = int(np.searchsorted(above, above[place] + pause, side="right"))
    return count


def best_at(points: Sequence[Point], accepts_per_hour: float) -> Point | None:
    """The point with the fewest false rejects among those with at most this rate of false accepts; None without any."""
    allowed = [point for point in points if point.false_accepts.value <= accepts_per_hour]
    return min(allowed, key=lambda point: (point.missed, point.threshold), default=None)


def share(count: int, total: int) -> Rate:
    """A share with the exact interval of Clopper and Pearson ("The use of confidence or fiducial limits", 1934)."""
    if not total:
        return Rate(math.nan, 0.0, 1.0)
    tail = (1 - CONFIDENCE) / 2
    low = _root(lambda p: 1 - _binomial(count - 1, total, p) - tail, 0.0, 1.0) if count else 0.0
    high = _root(lambda p: tail - _binomial(count, total, p), 0.0, 1.0) if count < total else 1.0
    return Rate(count / total, low, high)


def per_hour(count: int, hours: float) -> Rate:
    """A rate with Garwood's exact interval ("Fiducial limits for the Poisson distribution", 1936)."""
    if not hours:
        return Rate(math.nan, 0.0, math.inf)
    tail, far = (1 - CONFIDENCE) / 2, 2.0 * count + 20
    low = _root(lambda mean: 1 - _poisson(count - 1, mean) - tail, 0.0, far) if count else 0.0
    high = _root(lambda mean: tail - _poisson(count, mean), 0.0, far)
    return Rate(count / hours, low / hours, high / hours)


def _binomial(count: int, total: int, p: float) -> float:
    """Probability of at most `count` of `total` (binomial distribution)."""
    if p in (0.0, 1.0):
        return float(p == 0.0 or count >= total)
    whole = math.lgamma(total + 1)
    return sum(
        math.exp(
            whole - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * math.log(p) + (total - k) * math.log1p(-p)
        )
        for k in range(count + 1)
    )


def _poisson(count: int, mean: float) -> float:
    """Probability of at most `count` (Poisson distribution)."""
    if mean == 0.0:
        return 1.0
    return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Root of a rising function, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
