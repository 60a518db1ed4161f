"""Quantizers after a PReLU: monotone but piecewise linear, so each boundary is traced back separately.

An accumulator passes through chain, slope, chain, slope, ..., chain to the quantizer. A code is reached for real values
from a boundary on, a half-line; its preimage under a monotone function is a half-line again, back to the accumulators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tinygen.frontends.folding import Chain, Reach
from tinygen.frontends.rescale_fit import Cuts


@dataclass(frozen=True)
class Bend:
    """max(x, 0) + slope * min(x, 0) after a chain.

    Attributes:
        chain: from the accumulator, or from the bend before.
        slopes: per channel, not negative.
    """

    chain: Chain
    slopes: tuple[Fraction, ...]


@dataclass(frozen=True)
class HalfLine:
    """x >= point (rising) or x <= point; without the point itself unless `inclusive`."""

    rising: bool
    point: Fraction
    inclusive: bool

    def holds(self, x: Fraction | float) -> bool:
        return (self.inclusive and x == self.point) or (x > self.point if self.rising else x < self.point)


def rising(bends: Sequence[Bend], chain: Chain) -> tuple[bool, ...]:
    """Per channel, whether real values rise with the accumulator (constant ones count as rising)."""
    falls = [False] * chain.channels
    for link in (*(bend.chain for bend in bends), chain):
        falls = [a != (gain < 0) for a, gain in zip(falls, link.gain, strict=True)]
    return tuple(not fall for fall in falls)


def bent_cuts(bends: Sequence[Bend], chain: Chain, points: Sequence[tuple[Fraction, bool]], reach: Reach) -> Cuts:
    """The least signed accumulator that reaches each point; see `folding.exact_cuts`."""
    directions = rising(bends, chain)
    rows = []
    for channel, up in enumerate(directions):
        least, largest = reach.signed(channel, 1 if up else -1)
        cuts = [_cut(_traced(bends, chain, channel, *point), least, largest) for point in points]
        rows.append(cuts)
    return Cuts(np.array(rows, np.int64), np.array([1 if up else -1 for up in directions], np.int64), reach)


def _traced(bends: Sequence[Bend], chain: Chain, channel: int, point: Fraction, inclusive: bool) -> HalfLine | bool:
    """The accumulators whose values reach the point; True for all, False for none."""
    half = _before_chain(HalfLine(True, point, inclusive), chain, channel)
    for bend in reversed(bends):
        if isinstance(half, HalfLine):
            half = _before_slope(half, bend.slopes[channel])
        if isinstance(half, HalfLine):
            half = _before_chain(half, bend.chain, channel)
    return half


def _before_chain(half: HalfLine, chain: Chain, channel: int) -> HalfLine | bool:
    low, high = chain.low[channel], chain.high[channel]
    if half.holds(low) and half.holds(high):
        return True
    if not half.holds(low) and not half.holds(high):
        return False
    # The point is between the bounds, so these differ and the gain is not 0.
    gain, offset = chain.gain[channel], chain.offset[channel]
    return HalfLine(half.rising == (gain > 0), (half.point - offset) / gain, half.inclusive)


def _before_slope(half: HalfLine, slope: Fraction) -> HalfLine | bool:
    if half.point > 0 or slope == 1:
        return half
    if slope > 0:
        return HalfLine(half.rising, half.point / slope, half.inclusive)
    # Slope 0: all x <= 0 become 0.
    if half.holds(Fraction(0)):
        return True if half.rising else HalfLine(False, Fraction(0), True)
    return HalfLine(True, Fraction(0), False) if half.rising else False


def _cut(half: HalfLine | bool, least: int, largest: int) -> int:
    """The least signed accumulator within a half-line."""
    if isinstance(half, bool):
        return least if half else largest + 1
    point = half.point if half.rising else -half.point
    cut = -(-point.numerator // point.denominator) if half.inclusive else point.numerator // point.denominator + 1
    return min(max(cut, least), largest + 1)
