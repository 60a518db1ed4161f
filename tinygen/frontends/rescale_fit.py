"""Epilogues from exact cuts: thresholds are the cuts; a rescale is fitted to them and checked against each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.ops.mac import accumulator_range

_INT32 = np.iinfo(np.int32)
_NEVER, _ALWAYS = 2**31, -(2**31)
_MULTIPLIER_BITS = 31
_MOST_SHIFT = 62
_LIMIT = 2**62
"""What products and offsets stay below, so that their sum fits 64 bits."""


@dataclass(frozen=True, eq=False)
class Reach:
    """Range of the accumulators that can occur.

    Attributes:
        low, high: int64 [channels], low <= high, within int32.
    """

    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1 or np.any(self.low > self.high):
            raise ModelError("the bounds of the accumulators do not fit together")
        # Not -2**31 itself: its negative is no int32.
        if np.any(self.low <= _INT32.min) or np.any(self.high > _INT32.max):
            worst = int(max(abs(int(self.low.min())), abs(int(self.high.max()))))
            raise UnsupportedError(f"accumulators reach {worst}, beyond 32 bits")

    @property
    def channels(self) -> int:
        return len(self.low)

    @staticmethod
    def of_weights(weights: np.ndarray, low: int, high: int) -> Reach:
        """Range of a multiply-accumulate's accumulators.

        Args:
            weights: integers [O, ...], the products of one accumulator per row.
            low, high: least and largest integer of an activation; the range must include 0 if there is padding.
        """
        flat = weights.reshape(len(weights), -1).astype(np.int64)
        return Reach(*accumulator_range(flat, low, high, 0))

    def signed(self, channel: int, sign: int) -> tuple[int, int]:
        """Least and largest sign * accumulator of a channel."""
        low, high = int(self.low[channel]), int(self.high[channel])
        return (low, high) if sign > 0 else (-high, -low)


@dataclass(frozen=True, eq=False)
class Cuts:
    """The accumulators at which codes change.

    Attributes:
        table: int64 [channels, codes - 1], ascending: the least sign * accumulator with a code of k + 1 or more. The
            least within reach where all have it, one more than the largest where none has.
        sign: int64 [channels], 1 or -1.
        reach: of the accumulators.
    """

    table: np.ndarray
    sign: np.ndarray
    reach: Reach

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest sign * accumulator, int64 [channels] each."""
        ends = self.reach.low * self.sign, self.reach.high * self.sign
        return np.minimum(*ends), np.maximum(*ends)


def _shared(values: Sequence[int]) -> tuple[int, ...]:
    """One value where all are equal."""
    return (values[0],) if len(set(values)) == 1 else tuple(values)


def threshold_of(cuts: Cuts) -> Threshold:
    """The cuts as thresholds. Thresholds that all accumulators within reach attain, or none, are marked as such."""
    least, largest = (end[:, None] for end in cuts.ends())
    table = np.where(cuts.table <= least, _ALWAYS, np.where(cuts.table > largest, _NEVER, cuts.table))
    rows = [tuple(row) for row in table.tolist()]
    sign = [int(s) for s in cuts.sign]
    if len(set(rows)) == 1 and len(set(sign)) == 1:
        return Threshold((rows[0],), (sign[0],))
    return Threshold(tuple(rows), _shared(sign))


@dataclass(frozen=True)
class Fit:
    """A rescale, the number of accumulators within reach whose code is not the cuts', and the largest difference."""

    rescale: Rescale
    wrong: int
    worst: int


def fit_rescale(cuts: Cuts, slopes: Sequence[Fraction], first: int) -> Fit:
    """The rescale nearest to the cuts.

    Args:
        cuts: the exact codes.
        slopes: codes per accumulator of each channel, not negative.
        first: the code of an accumulator below all cuts.

    Raises:
        UnsupportedError: no multiplier of 32 bits with a product of 63 bits approximates the slopes.
    """
    codes = np.arange(first + 1, first + 1 + cuts.table.shape[1])
    least, largest = cuts.ends()
    low, high = _attained(cuts, first)
    rows = [
        _fit_channel(cuts.table[c].tolist(), codes.tolist(), slopes[c], (int(least[c]), int(largest[c])), (low, high))
        for c in range(len(slopes))
    ]
    multiplier = [m * int(s) for (m, _, _), s in zip(rows, cuts.sign, strict=True)]
    rescale = Rescale(
        _shared(multiplier), _shared([o for _, o, _ in rows]), _shared([s for _, _, s in rows]), low, high
    )
    counts = [_differences(cuts, c, first, _given_cuts(rows[c], low, high, cuts, c), low) for c in range(len(slopes))]
    return Fit(rescale, sum(count for count, _ in counts), max(worst for _, worst in counts))


def _attained(cuts: Cuts, first: int) -> tuple[int, int]:
    """Least and largest code that any channel gives."""
    least, largest = cuts.ends()
    low = (cuts.table <= least[:, None]).sum(axis=1).min()
    high = (cuts.table <= largest[:, None]).sum(axis=1).max()
    return first + int(low), first + int(high)


def _fit_channel(
    row: Sequence[int], codes: Sequence[int], slope: Fraction, ends: tuple[int, int], clamp: tuple[int, int]
) -> tuple[int, int, int]:
    """(multiplier, offset, shift) on signed accumulators.

    Code k is given from its cut t on and not at t - 1: k 2^s - t m <= offset < k 2^s - (t - 1) m. All codes together
    bound the offset; where no offset satisfies them all, the middle of what they ask for is taken.
    """
    shift = _shift(slope, ends, clamp)
    nearest = round(slope * 2**shift)
    # If rounding the exact slope moves a tie to the wrong side, a neighbouring multiplier may keep it on the right one.
    candidates = [m for m in (nearest, nearest - 1, nearest + 1) if 0 <= m <= _INT32.max]
    kept = [(code, cut) for code, cut in zip(codes, row, strict=True) if clamp[0] < code <= clamp[1]]
    bounds = [_offsets(kept, multiplier, shift, ends) for multiplier in candidates]
    fitting = [i for i, (floor, ceiling) in enumerate(bounds) if floor is None or ceiling is None or floor <= ceiling]
    best = fitting[0] if fitting else 0
    floor, ceiling = bounds[best]
    if floor is not None and ceiling is not None:
        offset = (floor + ceiling) // 2
    else:
        edges = [edge for edge in (floor, ceiling) if edge is not None]
        offset = edges[0] if edges else clamp[0] << shift
    return candidates[best], offset, shift


def _offsets(
    codes: Sequence[tuple[int, int]], multiplier: int, shift: int, ends: tuple[int, int]
) -> tuple[int | None, int | None]:
    """(least, largest) offset with which all (code, cut) are exact; None for an end without a bound."""
    reached = [(code << shift) - cut * multiplier for code, cut in codes if cut <= ends[1]]
    missed = [(code << shift) - (cut - 1) * multiplier - 1 for code, cut in codes if cut > ends[0]]
    return max(reached, default=None), min(missed, default=None)


def _shift(slope: Fraction, ends: tuple[int, int], clamp: tuple[int, int]) -> int:
    """The largest shift with a multiplier of 31 bits, and products and offsets below 2**62."""
    reach = max(abs(end) for end in ends)
    span = slope * reach + max(abs(code) for code in clamp) + 2
    for shift in range(_MOST_SHIFT, -1, -1):
        if slope * 2**shift <= 2**_MULTIPLIER_BITS - 1 and 2 * span * 2**shift < _LIMIT:
            return shift
    raise UnsupportedError(f"a gain of {float(slope):.3g} codes per accumulator of up to {reach} does not fit 64 bits")


def _given_cuts(row: tuple[int, int, int], low: int, high: int, cuts: Cuts, channel: int) -> np.ndarray:
    """The cuts of codes low + 1, ..., high in a channel of a rescale: int64, as in `Cuts.table`."""
    multiplier, offset, shift = row
    least, largest = (int(end[channel]) for end in cuts.ends())
    result = []
    for code in range(low + 1, high + 1):
        wanted = (code << shift) - offset
        constant = least if wanted <= 0 else largest + 1
        cut = -(-wanted // multiplier) if multiplier else constant
        result.append(min(max(cut, least), largest + 1))
    return np.array(result, np.int64)


def _differences(cuts: Cuts, channel: int, first: int, given: np.ndarray, low: int) -> tuple[int, int]:
    """(accumulators whose code differs, largest difference).

    Both are step functions, so that only their steps need comparing.
    """
    least, largest = (int(end[channel]) for end in cuts.ends())
    exact = cuts.table[channel]
    edges = np.unique(np.concatenate([given, exact, [least]]))
    edges = edges[edges <= largest]
    widths = np.diff(edges, append=largest + 1)
    codes_given = low + np.searchsorted(given, edges, side="right")
    codes_exact = first + np.searchsorted(exact, edges, side="right")
    gap = np.abs(codes_given - codes_exact)
    return int(widths[gap > 0].sum()), int(gap.max())


def fit_linear(gains: Sequence[Fraction], offsets: Sequence[Fraction], reach: Reach, low: int, high: int) -> Rescale:
    """round(gain * accumulator + offset) per channel, clamped; approximated with multipliers of 32 bits."""
    rows = []
    for channel, (gain, offset) in enumerate(zip(gains, offsets, strict=True)):
        ends = int(reach.low[channel]), int(reach.high[channel])
        shift = _shift(abs(gain), ends, (abs(math.ceil(offset)), 1))
        rows.append((round(gain * 2**shift), round((offset + Fraction(1, 2)) * 2**shift), shift))
    return Rescale(
        _shared([m for m, _, _ in rows]), _shared([o for _, o, _ in rows]), _shared([s for _, _, s in rows]), low, high
    )
