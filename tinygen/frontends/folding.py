"""Folds everything between a multiply-accumulate and the next quantizer into one integer epilogue.

Batch norm, scales, biases and ReLU are affine maps and clamps, so per output channel the real value in front of the
quantizer is clip(gain * accumulator + offset, low, high): monotone. A code is then reached from one integer
accumulator on (Umuroglu et al., "FINN", 2017, section 4.2.2), and this integer is computed in exact rational
arithmetic: the parameters are floats, and every float is a fraction.

    chain = Chain.start(channels).affine(x_scale).affine(w_scale, bias).batch_norm(...).relu()
    folded = fold(chain, Uniform(scale, zero_point, low=0, high=15), Reach(least, largest))
    folded.epilogue, folded.base, folded.wrong

`fold` proves its result: `wrong` counts the accumulators within reach whose code differs, over all channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from typing import Protocol

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.rescale_fit import Cuts, Fit, Reach, fit_linear, fit_rescale, threshold_of
from tinygen.ir.epilogue import MOST_THRESHOLDS, Epilogue, Rescale, Threshold

__all__ = [
    "Boundaries",
    "Chain",
    "Folded",
    "Quantizer",
    "Reach",
    "Rounding",
    "Uniform",
    "fold",
    "fold_real",
    "thresholds",
]

Values = float | Sequence[float] | np.ndarray
"""One for all channels, or one per channel. Floats of any width are taken as the exact numbers they are."""

FEW_THRESHOLDS = 3
"""So many are compared faster than an accumulator is multiplied, shifted and clamped."""

_Bound = Fraction | float
"""A fraction, or an infinity."""


@dataclass(frozen=True)
class Chain:
    """clip(gain * accumulator + offset, low, high) of every channel, in exact numbers."""

    gain: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    low: tuple[_Bound, ...]
    high: tuple[_Bound, ...]

    @staticmethod
    def start(channels: int) -> Chain:
        """The accumulator itself."""
        return Chain(
            (Fraction(1),) * channels, (Fraction(0),) * channels, (-math.inf,) * channels, (math.inf,) * channels
        )

    @property
    def channels(self) -> int:
        return len(self.gain)

    def affine(self, gain: Values = 1.0, offset: Values = 0.0) -> Chain:
        """gain * x + offset; gains may be negative or zero.

        Raises:
            ModelError: a value is not finite, or their count is neither 1 nor that of the channels.
        """
        return self._linear(self._exact(gain, "gain"), self._exact(offset, "offset"))

    def divide(self, divisor: Values) -> Chain:
        """x / divisor, exactly: a float's reciprocal is in general no float."""
        divisors = self._exact(divisor, "divisor")
        if not all(divisors):
            raise ModelError("a divisor is zero")
        return self._linear([1 / value for value in divisors], [Fraction(0)] * self.channels)

    def _linear(self, gains: Sequence[Fraction], offsets: Sequence[Fraction]) -> Chain:
        bounds = [self._map_bounds(c, gains[c], offsets[c]) for c in range(self.channels)]
        return Chain(
            tuple(a * g for a, g in zip(gains, self.gain, strict=True)),
            tuple(a * o + b for a, o, b in zip(gains, self.offset, offsets, strict=True)),
            tuple(low for low, _ in bounds),
            tuple(high for _, high in bounds),
        )

    def _map_bounds(self, channel: int, gain: Fraction, offset: Fraction) -> tuple[_Bound, _Bound]:
        if gain == 0:
            return offset, offset
        ends = [_affine(bound, gain, offset) for bound in (self.low[channel], self.high[channel])]
        return (ends[0], ends[1]) if gain > 0 else (ends[1], ends[0])

    def batch_norm(
        self, mean: Values, variance: Values, epsilon: float, gamma: Values = 1.0, beta: Values = 0.0
    ) -> Chain:
        """gamma * (x - mean) / sqrt(variance + epsilon) + beta; the root in float64."""
        spread = np.asarray(variance, np.float64) + epsilon
        if not np.all(spread > 0):
            raise ModelError("a batch normalization has a variance that is not positive")
        centred = self.affine(1.0, -np.asarray(mean, np.float64))
        return centred.divide(np.sqrt(spread)).affine(gamma, beta)

    def clip(self, low: Values = -math.inf, high: Values = math.inf) -> Chain:
        """min(max(x, low), high); infinities bound nothing."""
        lows, highs = self._bounds(low), self._bounds(high)
        if any(a > b for a, b in zip(lows, highs, strict=True)):
            raise ModelError("a clamp's lower bound is above its upper bound")

        def clamp(values: Sequence[_Bound]) -> tuple[_Bound, ...]:
            return tuple(min(max(v, a), b) for v, a, b in zip(values, lows, highs, strict=True))

        return replace(self, low=clamp(self.low), high=clamp(self.high))

    def relu(self) -> Chain:
        return self.clip(0.0)

    def _spread(self, values: Values, what: str) -> list[float]:
        flat = np.asarray(values, np.float64).reshape(-1)
        if flat.size not in (1, self.channels):
            raise ModelError(f"{flat.size} values of a {what} for {self.channels} channels")
        return np.broadcast_to(flat, (self.channels,)).tolist()

    def _exact(self, values: Values, what: str) -> list[Fraction]:
        spread = self._spread(values, what)
        if not all(math.isfinite(value) for value in spread):
            raise ModelError(f"a {what} is not finite")
        return [Fraction(value) for value in spread]

    def _bounds(self, values: Values) -> list[_Bound]:
        spread = self._spread(values, "clamp")
        if any(math.isnan(value) for value in spread):
            raise ModelError("a clamp's bound is not a number")
        return [value if math.isinf(value) else Fraction(value) for value in spread]


def _affine(bound: _Bound, gain: Fraction, offset: Fraction) -> _Bound:
    if isinstance(bound, float):
        return bound if gain > 0 else -bound
    return bound * gain + offset


class Rounding(Enum):
    """How a quantizer rounds."""

    HALF_EVEN = "half_even"
    """To nearest, ties to even: ONNX, NumPy, torch."""
    HALF_UP = "half_up"
    """Ties towards plus infinity: floor(x + 1/2)."""
    HALF_AWAY = "half_away"
    """Ties away from zero: C's round()."""
    HALF_TO_ZERO = "half_to_zero"
    FLOOR = "floor"
    CEIL = "ceil"
    AWAY = "away"
    """Away from zero."""
    TO_ZERO = "to_zero"


_HALF = Fraction(1, 2)
# code k is reached at (distance below k, whether the point itself counts).
_CUTS: dict[Rounding, Callable[[int], tuple[Fraction, bool]]] = {
    Rounding.HALF_EVEN: lambda k: (_HALF, k % 2 == 0),
    Rounding.HALF_UP: lambda k: (_HALF, True),
    Rounding.HALF_AWAY: lambda k: (_HALF, k > 0),
    Rounding.HALF_TO_ZERO: lambda k: (_HALF, k <= 0),
    Rounding.FLOOR: lambda k: (Fraction(0), True),
    Rounding.CEIL: lambda k: (Fraction(1), False),
    Rounding.AWAY: lambda k: (Fraction(1), False) if k > 0 else (Fraction(0), True),
    Rounding.TO_ZERO: lambda k: (Fraction(0), True) if k > 0 else (Fraction(1), False),
}


@dataclass(frozen=True)
class Uniform:
    """code = clamp(round(x / scale + zero_point) + shift, low, high).

    Attributes:
        scale: positive.
        zero_point: inside the rounding; may be fractional (QONNX allows it).
        low, high: codes, low < high.
        shift: added after rounding (ONNX's zero points, which do not change which ties are even).
    """

    scale: float
    zero_point: float
    low: int
    high: int
    rounding: Rounding = Rounding.HALF_EVEN
    shift: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.zero_point)):
            raise ModelError(f"a quantizer has scale {self.scale} and zero point {self.zero_point}")
        if self.low >= self.high:
            raise ModelError(f"a quantizer has codes {self.low} to {self.high}")

    @property
    def step(self) -> Fraction:
        return Fraction(self.scale)

    def points(self) -> list[tuple[Fraction, bool]]:
        """The boundaries of codes low + 1, low + 2, ...: (least real value with that code, whether it is included)."""
        rule, scale, zero = _CUTS[self.rounding], Fraction(self.scale), Fraction(self.zero_point)
        cuts = [(k, *rule(k)) for k in range(self.low + 1 - self.shift, self.high + 1 - self.shift)]
        return [((k - below - zero) * scale, inclusive) for k, below, inclusive in cuts]


@dataclass(frozen=True)
class Boundaries:
    """code = number of boundaries b with x >= b.

    Attributes:
        boundaries: ascending, finite; at least one.
    """

    boundaries: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(math.isfinite(b) for b in self.boundaries)
        if not self.boundaries or not finite or list(self.boundaries) != sorted(self.boundaries):
            raise ModelError("a quantizer's boundaries are not finite and ascending")

    @property
    def low(self) -> int:
        return 0

    @property
    def high(self) -> int:
        return len(self.boundaries)

    @property
    def step(self) -> None:
        return None

    def points(self) -> list[tuple[Fraction, bool]]:
        return [(Fraction(b), True) for b in self.boundaries]


class Quantizer(Protocol):
    """A monotone step function: `Uniform`, `Boundaries`, or a caller's own class."""

    @property
    def low(self) -> int:
        """The least code."""

    @property
    def high(self) -> int:
        """The largest code."""

    @property
    def step(self) -> Fraction | None:
        """Distance between the real values of adjacent codes; None if they are not evenly spaced."""

    def points(self) -> list[tuple[Fraction, bool]]:
        """Per code above `low`: its lower boundary as a real value, and whether that value is included."""


@dataclass(frozen=True)
class Folded:
    """An epilogue and the proof of its exactness.

    Attributes:
        epilogue: gives the quantizer's codes minus `base`.
        wrong: number of accumulators within reach, over all channels, whose code is not the quantizer's; all are
            checked, so 0 is a proof.
        worst: the largest difference of codes among them.
    """

    epilogue: Epilogue
    base: int
    wrong: int = 0
    worst: int = 0


def fold(
    chain: Chain, quantizer: Quantizer, reach: Reach, *, from_zero: bool = False, most_thresholds: int = 15
) -> Folded:
    """The epilogue that gives the quantizer's codes from accumulators.

    Up to 3 boundaries become thresholds. More become a multiplication and a shift if these provably give the same
    codes for all accumulators within reach, else up to `most_thresholds` thresholds. With more boundaries than that the
    multiplication is kept, and the codes that differ are counted (rounding ties to even is not a linear function).

    Args:
        chain: from the accumulator to the quantizer.
        quantizer: uniform, or any boundaries.
        reach: least and largest accumulator per channel.
        from_zero: codes of a Rescale count from 0, as those of a Threshold always do.
        most_thresholds: per channel, if a multiplication is not exact; at most 255.

    Raises:
        ModelError: chain and reach have different numbers of channels.
        UnsupportedError: too many boundaries that are not evenly spaced, or numbers beyond 64 bits.
    """
    points = quantizer.points()
    cuts = exact_cuts(chain, points, reach)
    limit = min(most_thresholds, MOST_THRESHOLDS)
    if len(points) <= min(FEW_THRESHOLDS, limit):
        return Folded(threshold_of(cuts), quantizer.low)
    if quantizer.step is None:
        if len(points) > MOST_THRESHOLDS:
            raise UnsupportedError(f"a quantizer with {len(points) + 1} levels that are not evenly spaced")
        return Folded(threshold_of(cuts), quantizer.low)
    base = quantizer.low if from_zero else 0
    slopes = [abs(g / quantizer.step) for g in chain.gain]
    fit = fit_rescale(cuts, slopes, quantizer.low - base)
    if fit.wrong:
        fit = min(fit, _clamped_fit(chain, quantizer, reach, slopes, base) or fit, key=lambda found: found.wrong)
    if fit.wrong and len(points) <= limit:
        return Folded(threshold_of(cuts), quantizer.low)
    return Folded(fit.rescale, base, fit.wrong, fit.worst)


def _clamped_fit(chain: Chain, quantizer: Quantizer, reach: Reach, slopes: Sequence[Fraction], base: int) -> Fit | None:
    """The fit of the chain without its clamps, which become code limits; None if these are the quantizer's own limits.

    After a ReLU followed by a batch norm, all accumulators below some value have one code, which is not the least: no
    linear function gives that. `wrong` also counts accumulators whose codes the clamps may correct.
    """
    points = quantizer.points()
    floor, ceiling = (
        np.array([quantizer.low + sum(_reached(bound, *point) for point in points) for bound in bounds])
        for bounds in (chain.low, chain.high)
    )
    if np.all(floor == quantizer.low) and np.all(ceiling == quantizer.high):
        return None
    free = replace(chain, low=_opened(chain, chain.low, -math.inf), high=_opened(chain, chain.high, math.inf))
    fit = fit_rescale(exact_cuts(free, points, reach), slopes, quantizer.low - base)
    return replace(fit, rescale=_with_clamps(fit.rescale, floor - base, ceiling - base))


def _opened(chain: Chain, bounds: Sequence[_Bound], infinity: float) -> tuple[_Bound, ...]:
    """The chain's bounds removed, except in channels whose value does not depend on the accumulator."""
    return tuple(infinity if gain else bound for gain, bound in zip(chain.gain, bounds, strict=True))


def _reached(bound: _Bound, point: Fraction, inclusive: bool) -> bool:
    return bound > point or (inclusive and bound == point)


def _with_clamps(rescale: Rescale, floor: np.ndarray, ceiling: np.ndarray) -> Rescale:
    """The rescale with clamps per channel, or with a single pair if all channels have the same."""
    low, high = min(rescale.low, int(floor.max())), max(rescale.high, int(ceiling.min()))
    floor, ceiling = (np.clip(bounds, low, high) for bounds in (floor, ceiling))
    low, high = int(floor.min()), int(ceiling.max())
    return replace(
        rescale,
        low=low,
        high=high,
        floor=() if np.all(floor == low) else tuple(floor.tolist()),
        ceiling=() if np.all(ceiling == high) else tuple(ceiling.tolist()),
    )


def thresholds(chain: Chain, quantizer: Quantizer, reach: Reach) -> Threshold:
    """As `fold`, but always thresholds, which are exact for any quantizer; codes count from 0.

    Raises:
        UnsupportedError: more than 255 boundaries.
    """
    points = quantizer.points()
    if len(points) > MOST_THRESHOLDS:
        raise UnsupportedError(f"{len(points)} thresholds per channel, more than {MOST_THRESHOLDS}")
    return threshold_of(exact_cuts(chain, points, reach))


REAL_BITS = 30


def fold_real(chain: Chain, reach: Reach) -> tuple[Epilogue | None, float]:
    """(epilogue, scale) of an int32 output that has no quantizer: real = scale * code.

    The output is the accumulators themselves if one positive scale serves all channels. Otherwise the largest value has
    code 2**30, and codes are within 2 of the exact ones.

    Raises:
        UnsupportedError: channels are clamped at different values.
    """
    gain = chain.gain[0]
    scale = float(np.float32(float(gain)))
    plain = all(g == gain for g in chain.gain) and not any(chain.offset) and gain > 0 and Fraction(scale) == gain
    if plain and all(map(math.isinf, (*chain.low, *chain.high))):
        return None, scale
    if len(set(chain.low)) > 1 or len(set(chain.high)) > 1:
        raise UnsupportedError("an output that no quantizer follows is clamped differently per channel")
    largest = max(
        abs(g) * int(max(abs(low), abs(high))) + abs(o)
        for g, o, low, high in zip(chain.gain, chain.offset, reach.low, reach.high, strict=True)
    )
    scale = float(np.float32(float(largest) / 2**REAL_BITS)) or 1.0
    low, high = (_code_of(bound, Fraction(scale)) for bound in (chain.low[0], chain.high[0]))
    gains, offsets = ([value / Fraction(scale) for value in values] for values in (chain.gain, chain.offset))
    return fit_linear(gains, offsets, reach, low, high), scale


def _code_of(bound: _Bound, scale: Fraction) -> int:
    """A clamp in int32 codes."""
    limit = 2**31 - 1
    if isinstance(bound, float):
        return limit if bound > 0 else -limit
    return min(max(round(bound / scale), -limit), limit)


def exact_cuts(chain: Chain, points: Sequence[tuple[Fraction, bool]], reach: Reach) -> Cuts:
    """The least signed accumulator that reaches each point, clamped to just beyond the reach."""
    if reach.channels != chain.channels:
        raise ModelError(f"a reach of {reach.channels} channels for a chain of {chain.channels}")
    # With a common denominator all numbers are integers, which Python compares ten times as fast as fractions.
    whole = math.lcm(*(point.denominator for point, _ in points))
    whole_points = [(point.numerator * (whole // point.denominator), inclusive) for point, inclusive in points]
    rows = [_channel_cuts(chain, channel, whole_points, whole, reach) for channel in range(chain.channels)]
    sign = np.array([-1 if gain < 0 else 1 for gain in chain.gain], np.int64)
    return Cuts(np.array(rows, np.int64), sign, reach)


def _channel_cuts(
    chain: Chain, channel: int, points: Sequence[tuple[int, bool]], whole: int, reach: Reach
) -> list[int]:
    """Cuts of one channel. A point that all accumulators reach has the least one, a point that none reaches the
    largest plus 1.

    Args:
        points: times `whole`.
    """
    gain, offset = chain.gain[channel], chain.offset[channel]
    bounds = chain.low[channel], chain.high[channel]
    least, largest = reach.signed(channel, -1 if gain < 0 else 1)
    # Falling channels are mirrored: sign * accumulator rises.
    exact = [bound.denominator for bound in bounds if isinstance(bound, Fraction)]
    shared = math.lcm(whole, gain.denominator, offset.denominator, *exact)
    slope, start = (value.numerator * (shared // value.denominator) for value in (abs(gain), offset))
    low, high = (
        bound.numerator * (shared // bound.denominator) if isinstance(bound, Fraction) else bound for bound in bounds
    )
    row = []
    for whole_point, inclusive in points:
        point = whole_point * (shared // whole)
        # A gain of 0 makes both bounds the one value: one of the first two cases holds.
        if low > point or (inclusive and low == point):
            cut = least
        elif high < point or (not inclusive and high == point):
            cut = largest + 1
        else:
            distance = point - start
            cut = -(-distance // slope) if inclusive else distance // slope + 1
        row.append(min(max(cut, least), largest + 1))
    return row
