"""Thresholds spaced like powers of two: a first guess by the position of the highest bit, then one or two comparisons.

With v = saturate(offset + (x * 2^up * multiplier >> 32)), from 0 to 2^bits - 1, the guess is
each * (length of v - least), where the length is at least `least`. It is right, but for the `each` thresholds behind
it, if the border where v reaches 2^(least + j - 1) lies between thresholds each * j - 1 and each * j, for every j:
checked for every channel. Thresholds are rounded, so the size of octaves is derived from the largest, and their origin
from either the largest or the smallest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_EACH = (1, 2)
"""Thresholds per octave: powers of 2, of sqrt 2."""
_FINEST = 6
"""Bits of v at the lowest border; three are enough to hit a gap between powers of sqrt 2."""
_FEWEST = 4
_ENOUGH = 3
"""Bits of v at the lowest border where sums must be shifted up to have so many."""
_FINER = 3
"""Bits more that are tried where those are not enough."""
_MOST_BITS = 30
"""Bits that a v of int32 is saturated to, at most."""
_MOST_REACH = 2**30
_NEVER = 2**31 - 1
_LARGEST = 2**31 - 2**16
_ANYWHERE = 2.0**33
"""Borders that no accumulator reaches may lie up to there."""
_SPANS = -4, 31
"""Powers of 2 between which the lowest octave's length is."""
_NARROWED = 90
Ends = tuple[np.ndarray, np.ndarray]
"""Least and largest accumulator per channel."""


class Octaves(NamedTuple):
    """Constants of the formula above.

    Attributes:
        multiplier, offset: int32, per channel.
        thresholds: [channels, each * (octaves + 1)], and at least what a search wants, 2^n - 1: filled up with what is
            never reached.
    """

    multiplier: np.ndarray
    offset: np.ndarray
    thresholds: np.ndarray
    least: int
    bits: int
    each: int
    up: int


def fit_octaves(rows: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> Octaves | None:
    """Constants for rising thresholds [channels, n], or None if no octaves fit them.

    Args:
        rows: int64, -2^31 to 2^31 - 1.
        lows, highs: least and largest accumulator per channel.
    """
    if rows.shape[1] < _FEWEST:
        return None
    for each in _EACH:
        found = _fit(rows, lows, highs, each)
        if found is not None:
            return found
    return None


def _fit(rows: np.ndarray, lows: np.ndarray, highs: np.ndarray, each: int) -> Octaves | None:
    met: np.ndarray = np.any((rows > lows[:, None]) & (rows <= highs[:, None]), axis=1)
    if not met.any():
        return None
    reach = max(int(np.abs(lows).max()), int(np.abs(highs).max()), 1)
    for grid in (_grid_from_top, _grid_from_bottom, _grid_between):
        zero, first = grid(rows[met], (lows[met], highs[met]), each)
        gap = float((first - zero).min())
        if not gap > 0:
            continue
        wanted = max(int(np.ceil(_ENOUGH + 1 - np.log2(gap))), 0)
        for up in sorted({min(up, int(np.log2(_MOST_REACH / reach))) for up in (0, wanted, wanted + _FINER)}):
            found = _fit_grid(rows, (lows, highs), met, (zero * 2.0**up, first * 2.0**up), (each, up))
            if found is not None and _proven(found, lows, highs):
                return found
    return None


def _fit_grid(
    rows: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    met: np.ndarray,
    grid: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, int],
) -> Octaves | None:
    """Candidate constants, not yet proven.

    Args:
        met: channels that reach some of their thresholds.
        grid: the origin of the powers and the first border, of those channels, times 2^up.
        shape: each, up.
    """
    (zero, first), (each, up) = grid, shape
    octaves = rows.shape[1] // each
    least = min(int(np.floor(np.log2((first - zero).min() / 2))), _FINEST)
    bits = least + octaves
    if least < 1 or bits > _MOST_BITS:
        return None
    scale = 2.0**least / (first - zero)
    multiplier = np.zeros(len(rows), np.int64)
    # Channels that reach none of their thresholds, or always all of them, have a constant guess.
    offset = np.where(rows[:, -1] <= ends[0], (1 << bits) - 1, 0).astype(np.int64)
    if np.abs(zero * scale).max() >= _LARGEST:
        return None
    multiplier[met], offset[met] = np.round(scale * 2.0**32), np.round(-zero * scale)
    if multiplier.max() >= _NEVER:
        return None
    columns = max(each * (octaves + 1), (1 << rows.shape[1].bit_length()) - 1)
    never = np.full((len(rows), columns - rows.shape[1]), _NEVER)
    return Octaves(multiplier, offset, np.concatenate([rows, never], axis=1), least, bits, each, up)


def _grid_from_top(rows: np.ndarray, _ends: Ends, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Where powers begin from, and the first border: between the first octave's last threshold and the next one."""
    ratio = 2.0 ** (1 / each)
    zero = rows[:, -2] - (rows[:, -1] - rows[:, -2]) / (ratio - 1)
    lower, upper = rows[:, each - 1] - zero, rows[:, each] - zero
    return zero, zero + np.sqrt(np.maximum(lower, 0) * np.maximum(upper, 0))


def _grid_from_bottom(rows: np.ndarray, _ends: Ends, each: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for powers spaced as the last two thresholds, with the origin from the second to fourth threshold."""
    ratio, last = 2.0 ** (1 / each), rows.shape[1] - 1
    top = (rows[:, -1] - rows[:, -2]) / (1 - 1 / ratio)
    zero = np.mean([rows[:, i] - top * ratio ** (i - last) for i in (1, 2, 3)], axis=0)
    return zero, zero + top * ratio ** (each - 0.5 - last)


def _grid_between(rows: np.ndarray, ends: Ends, each: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of powers with the most room between the thresholds that each border is to lie between.

    With zero + span * 2^j for border j the room for zero is concave in the span: narrowed down from both sides. Needed
    if the smallest thresholds are less than one accumulator step apart, so that rounding errors are as large as the
    distances.
    """
    borders = rows.shape[1] // each
    above = np.concatenate([rows, np.full((len(rows), 1), _NEVER)], axis=1)[:, each::each][:, :borders]
    below = rows[:, each - 1 :: each][:, : above.shape[1]]
    lower = np.where(below <= ends[0][:, None], -_ANYWHERE, below - 1.0)
    upper = np.where(above > ends[1][:, None], _ANYWHERE, above.astype(float))
    powers = 2.0 ** np.arange(above.shape[1])

    def room(exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        reached = 2.0 ** exponent[:, None] * powers
        return (lower - reached).max(axis=1), (upper - reached).min(axis=1)

    left, right = (np.full(len(rows), float(end)) for end in _SPANS)
    for _ in range(_NARROWED):
        thirds = left + (right - left) / 3, right - (right - left) / 3
        (low, high), (other_low, other_high) = map(room, thirds)
        narrower = high - low < other_high - other_low
        left, right = np.where(narrower, thirds[0], left), np.where(narrower, right, thirds[1])
    low, high = room(left)
    zero = np.where(high > low, (low + high) / 2, np.nan)
    return zero, zero + 2.0**left


def _proven(found: Octaves, lows: np.ndarray, highs: np.ndarray) -> bool:
    """Whether every border that can be reached lies between its thresholds."""
    scaled = (column.astype(np.int64) << found.up for column in (found.thresholds, lows, highs))
    columns = (*scaled, found.multiplier, found.offset)
    for thresholds, low, high, factor, begin in zip(*(column.tolist() for column in columns), strict=True):
        for octave in range(1, found.bits - found.least + 1):
            wanted = (1 << (found.least + octave - 1)) - begin
            never = low if wanted <= 0 else high + 1
            # Sums are whole accumulators.
            border = -(-(wanted << 32) // (factor << found.up)) << found.up if factor else never
            below, above = thresholds[found.each * octave - 1], thresholds[found.each * octave]
            held = min(max(border, low), high + 1)
            if not min(max(below, low), high + 1) <= held <= min(max(above, low), high + 1):
                return False
    return True
