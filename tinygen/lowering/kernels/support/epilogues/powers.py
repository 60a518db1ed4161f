"""Thresholds that are powers of 2, or of the square root of 2, along a line: codes by counting leading zeros alone.

With v = offset + ((x + moved) * 2^up * multiplier >> 32) and the length of v, its bits up to the highest one (0 where v
is negative),

    code = saturate(length - first),

if threshold j is the least x whose v reaches 2^(first + j). For powers of the square root of 2, thresholds 0, 2, 4 ...
lie along one line and thresholds 1, 3, 5 ... along another, whose v, w, reaches 2^length half way through an octave:

    code = saturate(2 * (length - first) - 1 + bit `length` of w).

`first` is the same for all channels where that fits. Channels whose thresholds lie much further apart than others' need
one of their own: the multipliers of sums near 2^31 have no bits to spare. `moved` joins the bias. Nothing is loaded and
compared, unlike in `octaves`, which takes thresholds that lie less evenly.

Thresholds of a logarithmic quantizer are the least integers that are not below zero + span * 2^j, so that there are
such lines. Which ones is a linear program in two unknowns for each channel: the border of threshold t is to be above
t - 1 and at most t. The room for zero is concave in the span; the roomiest span becomes a whole multiplier, and what is
then left for the offset is computed in integers. Codes never fall as x rises, so that it is enough to prove the formula
at each threshold and at one less.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

_FEWEST = 7
_EACH = (1, 2)
"""Thresholds per octave."""
_TOLD = 3
"""Thresholds that a channel must reach to tell how long its octaves are; the others' are no shorter and no longer."""
_SHORTEST, _LONGEST = -4.0, 31.0
"""Powers of 2 between which the lowest octave's length is."""
_NARROWED = 90
_ANYWHERE = 2.0**34
_MOST = 2**31 - 1
_REACH = 2**31 - 2**17
"""Sums times 2^up stay below, so that a bias can be moved."""
_ROOM = 2**30
"""Offsets stay below."""
_TOP = 30
"""v reaches the largest threshold below 2^30."""
_SLACK = 0.01
_FINER = (0, 3, 6)
"""Bits by which sums are shifted up where offsets are too coarse."""
_MOVED = (1 << 8, 1 << 12, 1 << 16)
"""How far a bias is moved until the offsets of its channel fit."""


class Line(NamedTuple):
    """int64 per channel."""

    multiplier: np.ndarray
    offset: np.ndarray


class Powers(NamedTuple):
    """Constants of the formula above.

    Attributes:
        lines: as many as there are thresholds in an octave.
        moved: int64 per channel.
        first: of the first line, int64 per channel.
        bits: of the largest code.
    """

    lines: tuple[Line, ...]
    moved: np.ndarray
    first: np.ndarray
    bits: int
    up: int

    def codes(self, x: np.ndarray) -> np.ndarray:
        """The formula, for sums int64 [..., channels]."""
        length = self.length(x)
        code = length - self.first
        if len(self.lines) > 1:
            code = 2 * code - 1 + (self.place(self.lines[1], x) >> length & 1)
        return np.clip(code, 0, (1 << self.bits) - 1)

    def length(self, x: np.ndarray) -> np.ndarray:
        """Of v."""
        return np.frexp(np.maximum(self.place(self.lines[0], x), 0).astype(np.float64))[1].astype(np.int64)

    def place(self, line: Line, x: np.ndarray) -> np.ndarray:
        """v."""
        return line.offset + ((((x + self.moved) << self.up) * line.multiplier) >> 32)


class _Sums(NamedTuple):
    """The function to be found; int64.

    Attributes:
        rows: thresholds [channels, n].
        lows, highs: least and largest sum per channel.
        begin: from this sum on, per channel, an octave lies before the first: lengths are not to be shorter.
    """

    rows: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    begin: np.ndarray

    @property
    def reached(self) -> np.ndarray:
        """Which thresholds some sums reach and others do not: bool [channels, n]."""
        return (self.rows > self.lows[:, None]) & (self.rows <= self.highs[:, None])

    @property
    def reach(self) -> int:
        return max(int(np.abs(self.lows).max()), int(np.abs(self.highs).max()), 1)


def fit_powers(rows: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> Powers | None:
    """Constants for rising thresholds [channels, n]; None where they are no powers, or n + 1 is no power of 2.

    Args:
        rows: int64, -2^31 to 2^31 - 1.
        lows, highs: least and largest accumulator per channel.
    """
    count = rows.shape[1]
    sums = _Sums(rows, lows.astype(np.int64), highs.astype(np.int64), rows[:, 0])
    if count < _FEWEST or count & (count + 1) or not sums.reached.any():
        return None
    for varied, each, finer in product((False, True), _EACH, _FINER):
        found = _fit(sums, each, finer, varied=varied)
        if found is not None and _proven(found, sums):
            return found
    return None


def _fit(sums: _Sums, each: int, finer: int, *, varied: bool) -> Powers | None:
    """Constants that are not yet proven, with so many bits of v more than needed.

    Args:
        varied: `first` is as large as each channel allows; else that of the channel which allows least.
    """
    met: np.ndarray = np.any(sums.reached, axis=1)
    parts = [sums._replace(rows=sums.rows[:, start::each]) for start in range(each)]
    spans = []
    for line, part in enumerate(parts):
        span = _spans(_Sums(*(array[met] for array in part)))
        if span is None:
            return None
        spans.append(span / 2**line)  # w reaches another power of 2 than v
    shortest = np.min(spans, axis=0)
    # Multipliers have 31 bits: v rises by at most half of what the shifted sum does.
    up = max(int(np.ceil(1 - np.log2(shortest.min()) + _SLACK)), 0) + finer
    allowed = np.floor(np.log2(shortest) - _SLACK).astype(np.int64) + up - 1
    allowed = np.minimum(allowed, _TOP - each + 1 - parts[0].rows.shape[1])
    first = np.full(len(met), allowed.min())
    if sums.reach << up >= _REACH or first[0] < 0:
        return None
    if varied:
        first[met] = allowed
    multipliers = np.zeros((each, len(met)), np.int64)
    multipliers[:, met] = np.round(2.0 ** (32 + first[met] - up) / np.array(spans))
    return _with_offsets(sums, parts, multipliers, (first, up))


def _spans(sums: _Sums) -> np.ndarray | None:
    """The lowest octave's length in each channel, float: the one that leaves most room for where octaves begin."""
    reached = sums.reached
    told = np.count_nonzero(reached, axis=1) >= min(_TOLD, reached.shape[1])
    if not told.any():
        return None
    # The border of an octave before the first is the only one that may lie anywhere below.
    rows, (lows, highs) = np.column_stack([sums.begin, sums.rows]), (end[:, None] for end in (sums.lows, sums.highs))
    lower = np.where(rows <= lows, -_ANYWHERE, np.minimum(rows - 1, highs))
    lower[:, 0] = -_ANYWHERE
    upper = np.where(rows > highs, _ANYWHERE, np.maximum(rows, lows))
    powers = 2.0 ** np.arange(-1, sums.rows.shape[1])

    def room(exponent: np.ndarray) -> np.ndarray:
        borders = 2.0 ** exponent[:, None] * powers
        return np.asarray((upper - borders).min(axis=1) - (lower - borders).max(axis=1))

    left, right = np.full(len(rows), _SHORTEST), np.full(len(rows), _LONGEST)
    for narrowed in range(2):
        for _ in range(_NARROWED):
            thirds = left + (right - left) / 3, right - (right - left) / 3
            narrower = room(thirds[0]) < room(thirds[1])
            left, right = np.where(narrower, thirds[0], left), np.where(narrower, right, thirds[1])
        if narrowed or told.all():
            break
        ends = left[told].min(), left[told].max()
        left, right = np.where(told, left, ends[0]), np.where(told, right, ends[1])
    return 2.0**left if np.all(room(left) > 0) else None


def _with_offsets(
    sums: _Sums, parts: list[_Sums], multipliers: np.ndarray, shape: tuple[np.ndarray, int]
) -> Powers | None:
    """Constants with the least biases for which every channel has offsets.

    Args:
        parts: the thresholds of each line.
        multipliers: of each line, [lines, channels].
        shape: first, up.
    """
    first, up = shape
    count, channels = sums.rows.shape[1], len(sums.rows)
    moved, offsets = np.zeros(channels, np.int64), np.zeros((len(parts), channels), np.int64)
    for channel in range(channels):
        factors = [int(multiplier) << up for multiplier in multipliers[:, channel]]
        if not any(factors):
            # It reaches all thresholds or none.
            always = bool(sums.rows[channel, -1] <= sums.lows[channel])
            offsets[:, channel] = (1 << _TOP) - 1 if always else 0
            continue
        windows = [
            _window(_Sums(*(array[channel] for array in part)), factor, int(first[channel]) + line)
            for line, (part, factor) in enumerate(zip(parts, factors, strict=True))
        ]
        found = _least_bias(factors, windows)
        if found is None:
            return None
        moved[channel], offsets[:, channel] = found
    found_lines = tuple(Line(*line) for line in zip(multipliers, offsets, strict=True))
    return Powers(found_lines, moved, first, count.bit_length(), up)


def _window(sums: _Sums, factor: int, first: int) -> tuple[int, int]:
    """(least, most): thresholds of one channel lie right if least <= moved * factor + offset * 2^32 < most."""
    low, high, begin = int(sums.lows), int(sums.highs), int(sums.begin)
    least, most = -(_ROOM << 32), _ROOM << 32
    if first and begin <= high:
        least = (1 << (31 + first)) - max(begin, low) * factor
    for power, threshold in enumerate(sums.rows.tolist()):
        wanted = 1 << (32 + first + power)
        if threshold <= high:
            least = max(least, wanted - max(threshold, low) * factor)
        if threshold > low:
            most = min(most, wanted - min(threshold - 1, high) * factor)
    return least, most


def _least_bias(factors: list[int], windows: list[tuple[int, int]]) -> tuple[int, np.ndarray] | None:
    """What moves the bias least so that there is an offset for every line, and those offsets."""
    for reach in _MOVED:
        moved = np.arange(-reach, reach + 1)
        moved = moved[np.argsort(np.abs(moved), kind="stable")]
        fits, offsets = np.ones(len(moved), bool), []
        for factor, (least, most) in zip(factors, windows, strict=True):
            if least >= most:
                return None
            offset = -((moved * factor - least) >> 32)
            fits &= (offset << 32) + moved * factor < most
            offsets.append(offset)
        if fits.any():
            at = int(np.argmax(fits))
            return int(moved[at]), np.array([offset[at] for offset in offsets])
    return None


def _proven(found: Powers, sums: _Sums) -> bool:
    """Whether every sum that can occur has its code, and nothing on the way leaves int32."""
    lows, highs = sums.lows[:, None], sums.highs[:, None]
    points = np.concatenate([lows, highs, np.clip(sums.rows, lows, highs), np.clip(sums.rows - 1, lows, highs)], axis=1)
    points = points.T
    if np.abs((points + found.moved) << found.up).max() > _MOST:
        return False
    if any(np.abs(found.place(line, points)).max() > _MOST or line.multiplier.max() > _MOST for line in found.lines):
        return False
    if len(found.lines) > 1 and not _bit_rises(found, points):
        return False
    wanted = np.stack([np.searchsorted(row, x, side="right") for row, x in zip(sums.rows, points.T, strict=True)])
    return bool(np.all(found.codes(points) == wanted.T))


def _bit_rises(found: Powers, points: np.ndarray) -> bool:
    """Whether the bit of w rises once in each octave that is not saturated, if it is right at the octave's ends."""
    length = found.length(points)
    counts = (length > found.first) & (length < found.first + (1 << found.bits - 1))
    return bool(np.all(~counts | (found.place(found.lines[1], points) >> length + 1 == 0)))
