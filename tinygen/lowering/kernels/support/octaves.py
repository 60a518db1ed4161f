"""Thresholds that lie as powers of two do: a first guess by the position of the highest bit, then a comparison or two.

With v = saturate(offset + (x * multiplier >> 32)), from 0 to 2^bits - 1, the guess is each * (length of v - least),
where the length is at least `least`. It is right, but for the `each` thresholds behind it, if the border where v
reaches 2^(least + j - 1) lies between thresholds each * j - 1 and each * j, for every j: checked for every channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_EACH = (1, 2)
"""Thresholds per octave: powers of 2, of sqrt 2."""
_FINEST = 6
"""Bits of v at the lowest border; three are enough to hit a gap between powers of sqrt 2."""
_FEWEST = 4
_NEVER = 2**31 - 1
_LARGEST = 2**31 - 2**16


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


def fit_octaves(rows: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> Octaves | None:
    """Constants for rising thresholds [channels, n], or None where they lie otherwise.

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
    octaves = rows.shape[1] // each
    met = (rows[:, 0] > lows) & (rows[:, -1] <= highs)
    if not met.any():
        return None
    zero, first = _grid(rows[met].astype(np.float64), each)
    if not np.all(first > zero):
        return None
    least = min(int(np.floor(np.log2((first - zero).min() / 2))), _FINEST)
    if least < 1:
        return None
    bits = least + octaves
    scale = 2.0**least / (first - zero)
    multiplier = np.zeros(len(rows), np.int64)
    # Channels that reach none of their thresholds, or always all, have one guess.
    offset = np.where(rows[:, -1] <= lows, (1 << bits) - 1, 0).astype(np.int64)
    if np.abs(zero * scale).max() >= _LARGEST:
        return None
    multiplier[met], offset[met] = np.round(scale * 2.0**32), np.round(-zero * scale)
    if multiplier.max() >= _NEVER:
        return None
    columns = max(each * (octaves + 1), (1 << rows.shape[1].bit_length()) - 1)
    never = np.full((len(rows), columns - rows.shape[1]), _NEVER)
    found = Octaves(multiplier, offset, np.concatenate([rows, never], axis=1), least, bits, each)
    return found if _proven(found, lows, highs) else None


def _grid(rows: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Where powers begin from, and the first border: between the first octave's last threshold and the next one."""
    ratio = 2.0 ** (1 / each)
    zero = rows[:, -2] - (rows[:, -1] - rows[:, -2]) / (ratio - 1)
    lower, upper = rows[:, each - 1] - zero, rows[:, each] - zero
    return zero, zero + np.sqrt(np.maximum(lower, 0) * np.maximum(upper, 0))


def _proven(found: Octaves, lows: np.ndarray, highs: np.ndarray) -> bool:
    """Whether every border that can be reached lies between its thresholds."""
    columns = (found.thresholds, lows, highs, found.multiplier, found.offset)
    for thresholds, low, high, factor, begin in zip(*(column.tolist() for column in columns), strict=True):
        for octave in range(1, found.bits - found.least + 1):
            wanted = (1 << (found.least + octave - 1)) - begin
            never = low if wanted <= 0 else high + 1
            border = -(-(wanted << 32) // factor) if factor else never
            below, above = thresholds[found.each * octave - 1], thresholds[found.each * octave]
            held = min(max(border, low), high + 1)
            if not min(max(below, low), high + 1) <= held <= min(max(above, low), high + 1):
                return False
    return True
