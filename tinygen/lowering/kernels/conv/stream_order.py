"""Weights as instructions: which additions of shifted activations make the sums of a layer, and in what order.

A weight is a sum of signed powers of two (its non-adjacent form, Reitwiesner 1960: the fewest there are), so that a
product is a few additions and subtractions of `x << k`. The activations of two pixels lie in the halves of a word, as
low + 65536 * high, and one addition serves both as long as neither half leaves its 16 bits. So the digits of a block of
filters are distributed over *phases*: groups of neighbouring exponents, each relative to its lowest, that end before a
half could overflow, whatever the activations are. Between phases the halves are added to 32-bit sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

_HALF = 2**15 - 1
"""The largest magnitude that a half takes."""


class Term(NamedTuple):
    """accumulator += activation << shift, or -= when `minus`."""

    accumulator: int
    shift: int
    minus: bool


@dataclass(frozen=True)
class Tap:
    """One activation, and the sums that it is added to.

    Attributes:
        index: of the tap in the window.
        terms: by rising shift.
    """

    index: int
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Phase:
    """Additions whose halves cannot overflow; their sum is weighted by 2**shift. Taps by rising index."""

    shift: int
    taps: tuple[Tap, ...]

    @property
    def terms(self) -> int:
        return sum(len(tap.terms) for tap in self.taps)


@dataclass(frozen=True)
class Costs:
    """Costs of a phase in addition to its additions: cycles per load of an activation, and per filter at its end."""

    load: float
    end: float


def signed_digits(values: np.ndarray) -> np.ndarray:
    """The non-adjacent form of integers.

    Args:
        values: int64, any shape.

    Returns:
        int8 [digits, *shape] of -1, 0 and 1: values = sum of digit k times 2**k.
    """
    rest = values.astype(np.int64)
    planes = []
    while rest.any():
        digit = np.where(rest & 1, 2 - (rest & 3), 0)
        rest = (rest - digit) >> 1
        planes.append(digit.astype(np.int8))
    return np.array(planes, np.int8).reshape(len(planes), *values.shape)


def digit_count(values: np.ndarray) -> int:
    """How many additions products with these values take."""
    return int(np.count_nonzero(signed_digits(values)))


def plan_phases(weights: np.ndarray, low: int, high: int, costs: Costs) -> tuple[Phase, ...] | None:
    """The phases of one block of filters that cost least.

    Args:
        weights: int64 [filters, taps].
        low, high: of an activation; 0 is always taken as possible.

    Returns:
        None when one product alone does not fit a half.
    """
    digits = signed_digits(weights)
    low, high = min(low, 0), max(high, 0)
    count = len(digits)
    best: list[tuple[float, tuple[tuple[int, int], ...]]] = [(0.0, ())]
    for end in range(1, count + 1):
        ways = []
        for start in range(end):
            cost = _group_cost(digits[start:end], low, high, costs)
            if cost is not None:
                ways.append((best[start][0] + cost, (*best[start][1], (start, end))))
        if not ways:
            return None
        best.append(min(ways))
    return tuple(
        phase
        for start, end in best[-1][1]
        for phase in _phases(digits[start:end], start, _cuts(digits[start:end], low, high) or [])
    )


def _group_cost(digits: np.ndarray, low: int, high: int, costs: Costs) -> float | None:
    cuts = _cuts(digits, low, high)
    if cuts is None:
        return None
    loads = np.count_nonzero(digits.any(axis=(0, 1)))
    return costs.load * float(loads) + costs.end * digits.shape[1] * (len(cuts) - 1)


def _cuts(digits: np.ndarray, low: int, high: int) -> list[int] | None:
    """Borders of phases among the taps: as few as the halves allow; None if one tap alone overflows.

    Args:
        digits: [exponents, filters, taps], the first exponent counts once.
    """
    powers = np.left_shift(1, np.arange(len(digits)), dtype=np.int64)
    weights = np.tensordot(powers, digits.astype(np.int64), 1)
    if not weights.any():
        return [0]
    positive, negative = np.maximum(weights, 0), np.maximum(-weights, 0)
    # The largest sum and the smallest, both as magnitudes.
    reach = np.concatenate([positive * high - negative * low, negative * high - positive * low])
    if reach.max() > _HALF:
        return None
    total = np.concatenate([np.zeros((len(reach), 1), np.int64), reach.cumsum(axis=1)], axis=1)
    cuts = [0]
    while cuts[-1] < weights.shape[1]:
        limits = total[:, cuts[-1]] + _HALF
        ends = [int(np.searchsorted(row, limit, "right")) - 1 for row, limit in zip(total, limits, strict=True)]
        cuts.append(min(ends))
    return cuts


def _phases(digits: np.ndarray, shift: int, cuts: Sequence[int]) -> list[Phase]:
    # All filters at once, tap by tap, since with numpy the number of calls determines the time.
    found = np.argwhere(digits.transpose(2, 0, 1))
    minus = digits[found[:, 1], found[:, 2], found[:, 0]] < 0
    terms: dict[int, list[Term]] = {}
    for (index, k, f), negative in zip(found.tolist(), minus.tolist(), strict=True):
        terms.setdefault(index, []).append(Term(f, k, negative))
    taps = {index: Tap(index, tuple(of_tap)) for index, of_tap in terms.items()}
    parts = ([taps[index] for index in range(first, last) if index in taps] for first, last in pairwise(cuts))
    return [Phase(shift, tuple(part)) for part in parts if part]


def split_taps(taps: Sequence[Tap], sizes: Sequence[int], limit: int) -> list[tuple[Tap, ...]]:
    """Pieces of about equal size, each of at most about `limit` bytes.

    Args:
        sizes: bytes of code per tap.
    """
    total = np.cumsum([0, *sizes])
    count = max(-(-int(total[-1]) // limit), 1)
    targets = [int(total[-1]) * i // count for i in range(1, count)]
    cuts = sorted({0, len(taps), *(int(np.searchsorted(total, target)) for target in targets)})
    return [tuple(taps[first:last]) for first, last in pairwise(cuts)]
