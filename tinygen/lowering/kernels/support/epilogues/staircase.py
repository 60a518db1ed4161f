"""Requantization in two instructions, proven equal to the semantics for every accumulator that can occur.

A layer's semantics turns an accumulator into a code by a rule of its own (two roundings, ties away from zero, real
arithmetic, a clamp). Whatever the rule, it is a staircase: code k begins at a smallest accumulator T[k]. So

    code = saturate((offset + (accumulator + shift of the bias) * multiplier >> 32) >> shift)

computes the same if every step lies where it should. With s = 32 + shift and B = bias shift * multiplier + offset *
2^32 that is, for each k that occurs,

    T[k] * multiplier + B >= k * 2^s   and   (T[k] - 1) * multiplier + B < k * 2^s.

A multiplier near the real scale is tried until the interval for B is not empty, then the smallest shift of the bias
that puts B into it. SMMLA and SSAT do the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

Codes = Callable[[np.ndarray], np.ndarray]
"""Codes of accumulators [n, channels], channel by channel, never falling as the accumulator rises."""

_MAX_SHIFT = 22
"""Codes times 2^(32 + shift), less any accumulator times its multiplier, must fit 64 bits."""
_TRIALS = 33
_ROUND = 4
_BIAS_SHIFTS = (1 << 10, 1 << 14, 1 << 18)
_SAFE = 2**31 - 2**19
_STEEPEST = 0.5
"""Codes per accumulator."""
Split = Callable[[int, int, int, int, int], tuple[int, int] | None]
Ends = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Codes k; per code and channel the least accumulator of code k or more, and the largest of less, or NONE."""


class Fit(NamedTuple):
    """Constants of the formula above.

    Attributes:
        multiplier, offset: int32, per channel.
        moved: what is added to the bias, per channel.
        shift: one for the whole layer.
    """

    multiplier: np.ndarray
    offset: np.ndarray
    moved: np.ndarray
    shift: int


@dataclass(frozen=True, eq=False)
class Staircase:
    """The function that the formula must equal, and its domain.

    Attributes:
        codes: the semantics.
        real: scale per channel, positive; or one for all channels, with one pair of bounds.
        lows, highs: smallest and largest accumulator that can occur, per channel.
        floor, ceiling: the codes saturate at these (after any clamp); outside the two no code need be right.
        unit: the kernel's accumulators are this many times those of the semantics.
    """

    codes: Codes
    real: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    floor: int
    ceiling: int
    unit: int = 1

    @property
    def live(self) -> np.ndarray:
        """Channels that have more than one accumulator."""
        return self.lows < self.highs

    @property
    def slopes(self) -> np.ndarray:
        """Codes per unit of the kernel's accumulators."""
        return self.real / self.unit

    @property
    def reach(self) -> np.ndarray:
        """The largest magnitude of the kernel's accumulators, per channel."""
        return self.unit * np.maximum(np.abs(self.lows), np.abs(self.highs)).astype(np.int64)

    def of_live(self) -> Staircase:
        """The channels that have more than one accumulator."""
        live = self.live

        def codes(accumulators: np.ndarray) -> np.ndarray:
            whole = np.tile(self.lows, (len(accumulators), 1))
            whole[:, live] = accumulators
            return self.codes(whole)[:, live]

        return replace(self, codes=codes, real=self.real[live], lows=self.lows[live], highs=self.highs[live])


def fit(staircase: Staircase, *, level: bool = False) -> Fit | None:
    """Constants that reproduce a staircase, or None when there are none; if `level`, without an offset where all
    channels do without, as those of finer sums may.

    A channel that has only one accumulator, as one without weights has, gives one code whatever its scale: it begins
    from 0, its code is the offset, and the others' shift is not its concern.
    """
    if not staircase.live.all() and len(staircase.real) == len(staircase.lows):
        return _with_constants(staircase, level)
    if not 0.0 < float(staircase.slopes.max(initial=0.0)) < _STEEPEST or staircase.reach.max() >= _SAFE:
        return None
    return fit_between(staircase, ends_of_steps(staircase), level=level)


def fit_between(staircase: Staircase, ends: Ends, *, level: bool = False) -> Fit | None:
    """The same where not every accumulator between two steps occurs.

    Args:
        staircase: its codes are not asked for.
        ends: see `ends_of_steps`.
    """
    largest = float(staircase.slopes.max(initial=0.0))
    if not 0.0 < largest < _STEEPEST or staircase.reach.max() >= _SAFE:
        return None
    most = min(int(np.floor(np.log2(_STEEPEST / largest))), _MAX_SHIFT)
    if largest * 2.0 ** (32 + most) > 2**31 - _TRIALS:
        most -= 1
    # With a round shift more layers share one function; the largest is the most precise.
    for split in (_level, _split) if level else (_split,):
        for shift in (most // _ROUND * _ROUND, most):
            found = _fit_all(staircase, shift, ends, split) if shift > 0 else None
            if found is not None:
                return found
    return None


def _with_constants(staircase: Staircase, level: bool) -> Fit | None:
    """The same where some channels have one accumulator."""
    live, lows = staircase.live, staircase.lows
    found = Fit(np.ones(0, np.int64), np.ones(0, np.int64), np.ones(0, np.int64), 1)
    if live.any():
        part = fit(staircase.of_live(), level=level)
        if part is None:
            return None
        found = part
    codes = np.clip(staircase.codes(lows[None, :])[0].astype(np.int64), staircase.floor, staircase.ceiling)
    multiplier = np.full(len(lows), found.multiplier[0] if live.any() else 1)
    offset, moved = codes << found.shift, -lows.astype(np.int64) * staircase.unit
    for column, values in zip((multiplier, offset, moved), found[:3], strict=True):
        column[live] = values
    return Fit(multiplier, offset, moved, found.shift)


def _fit_all(staircase: Staircase, shift: int, ends: Ends, split: Split) -> Fit | None:
    steps, at, below = ends
    columns = []
    for channel, (slope, reach) in enumerate(zip(staircase.slopes.tolist(), staircase.reach.tolist(), strict=True)):
        of_channel = steps, _scaled(at[:, channel], staircase.unit), _scaled(below[:, channel], staircase.unit)
        found = _fit_channel(slope, shift, of_channel, reach, split)
        if found is None:
            return None
        columns.append(found)
    multiplier, offset, moved = (np.array(column, np.int64) for column in zip(*columns, strict=True))
    return Fit(multiplier, offset, moved, shift)


NONE = np.int64(2**62)
"""No accumulator."""


def ends_of_steps(staircase: Staircase) -> Ends:
    """(codes k, T[k] per channel, T[k] - 1 per channel) of a staircase; NONE where a code gives no bound."""
    lows, highs, floor, ceiling = staircase.lows, staircase.highs, staircase.floor, staircase.ceiling
    steps = np.arange(floor, ceiling + 2, dtype=np.int64)
    low, high = np.broadcast_to(lows, (len(steps), len(lows))).copy(), np.broadcast_to(highs, (len(steps), len(lows)))
    first, last = (staircase.codes(ends[None, :]).astype(np.int64)[0] for ends in (lows, highs))
    left, right = low.copy(), high + 1
    while np.any(left < right):
        middle = (left + right) >> 1
        reached = staircase.codes(np.minimum(middle, highs)).astype(np.int64) >= steps[:, None]
        reached |= middle > highs
        active = left < right
        right = np.where(active & reached, middle, right)
        left = np.where(active & ~reached, middle + 1, left)
    column = steps[:, None]
    # The code at the lowest accumulator must not be undershot, nor the one at the highest be overshot, unless
    # saturation sees to it.
    at = np.where((column <= last) & (column >= first) & (column > floor), left, NONE)
    below = np.where((column > first) & (column <= last + 1) & (column <= ceiling), left - 1, NONE)
    return steps, at, below


def _scaled(accumulators: np.ndarray, unit: int) -> np.ndarray:
    return np.where(accumulators == NONE, NONE, np.where(accumulators == NONE, 0, accumulators) * unit)


def _fit_channel(real: float, shift: int, ends: Ends, largest: int, split: Split) -> tuple[int, int, int] | None:
    steps, at, below = ends
    total = 32 + shift
    centre = round(real * 2.0**total)
    candidates = centre + _outwards(_TRIALS // 2)
    # A function that falls as the accumulator rises may be right at every step and wrong between two.
    candidates = candidates[candidates >= 0]
    targets = steps << total
    least = _bound(at, targets, candidates, np.max, -(2**61))
    most = _bound(below, targets, candidates, np.min, 2**61)
    width = most - least
    for index in np.argsort(-width, kind="stable")[:4]:
        if width[index] <= 0:
            return None
        found = split(int(candidates[index]), int(least[index]), int(most[index]), largest, shift)
        if found is not None:
            return int(candidates[index]), *found
    return None


def _bound(
    accumulators: np.ndarray, targets: np.ndarray, multipliers: np.ndarray, pick: Callable[..., np.ndarray], empty: int
) -> np.ndarray:
    """The tightest target - accumulator * multiplier, per multiplier."""
    there = accumulators != NONE
    if not there.any():
        return np.full(len(multipliers), empty, np.int64)
    rest = targets[there][None, :] - accumulators[there][None, :] * multipliers[:, None]
    return np.asarray(pick(rest, axis=1))


@cache
def _outwards(reach: int) -> np.ndarray:
    """Integers up to `reach` and down to its negative, the nearest to 0 first."""
    moved = np.arange(-reach, reach + 1, dtype=np.int64)
    return moved[np.argsort(np.abs(moved), kind="stable")]


def _level(multiplier: int, least: int, most: int, largest: int, shift: int) -> tuple[int, int] | None:
    """The same with offset 0."""
    if not multiplier:
        return None
    moved = -(-least // multiplier)
    reach = largest + abs(moved)
    return (0, moved) if moved * multiplier < most and reach < 2**31 and reach * multiplier >> 32 < _SAFE else None


def _split(multiplier: int, least: int, most: int, largest: int, shift: int) -> tuple[int, int] | None:
    """(offset, bias shift) with least <= bias shift * multiplier + offset * 2^32 < most."""
    for reach in _BIAS_SHIFTS:
        moved = _outwards(reach)
        rest = least - moved * multiplier
        offset = -((-rest) >> 32)
        fits = (moved * multiplier + (offset << 32) < most) & (np.abs(offset) < _SAFE)
        fits &= largest + np.abs(moved) < 2**31
        fits &= np.abs(offset) + (((largest + np.abs(moved)) * multiplier) >> 32) < _SAFE
        if fits.any():
            index = int(np.argmax(fits))
            return int(offset[index]), int(moved[index])
    return None
