"""The integral of power over a part of a trace; what was lost is counted, never bridged by a straight line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.errors import DeviceError
from tinygen.hil.power.monitor import Trace

_GAP = 1.5
"""Sampling intervals between two samples from which on at least one is missing."""


@dataclass(frozen=True)
class Integral:
    """Over a part of a trace.

    Attributes:
        joules: trapezoids between neighbouring samples; where samples are lost, the mean power of the rest is taken.
        seconds: of the part; `covered` of them lie between samples that are there.
        mean_amperes, volts: means over what is covered.
        samples: inside.
        lost: samples that are missing inside.
        gap_uncertainty: joules by which the lost samples may put the result off, from the smallest and the largest
            power seen in the part.
    """

    joules: float
    seconds: float
    covered: float
    mean_amperes: float
    volts: float
    samples: int
    lost: int
    gap_uncertainty: float

    @property
    def lost_share(self) -> float:
        return 1.0 - self.covered / self.seconds

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


def sample_interval(trace: Trace) -> float:
    """Seconds between samples, where none is lost.

    Raises:
        DeviceError: there are less than two samples.
    """
    if len(trace.seconds) < 2:
        raise DeviceError(
            f"gave {len(trace.seconds)} samples", fix="Is the instrument's supply on, and the board behind it?"
        )
    return float(np.median(np.diff(trace.seconds[:10_000])))


def integrate(trace: Trace, start: float, stop: float) -> Integral:
    """Between two moments of the instrument's clock.

    Raises:
        DeviceError: the trace does not reach over the part, or no sample in it is usable.
    """
    times = trace.seconds
    interval = sample_interval(trace)
    if start < times[0] - interval or stop > times[-1] + interval or stop <= start:
        raise DeviceError(
            f"has samples from {times[0]:.6f} to {times[-1]:.6f} s, not from {start:.6f} to {stop:.6f} s",
            fix="Start the instrument before the first run, stop it after the last.",
        )
    # The part's own ends between the samples outside it, in a straight line as everywhere.
    first = max(int(np.searchsorted(times, start, "right")) - 1, 0)
    last = min(int(np.searchsorted(times, stop, "left")), len(times) - 1)
    t = times[first : last + 1]
    amperes = trace.amperes[first : last + 1]
    volts = trace.volts[first : last + 1] if isinstance(trace.volts, np.ndarray) else np.full(len(t), trace.volts)
    missing = np.isnan(amperes) | np.isnan(volts)
    steps = np.diff(t)
    bridged = (steps <= _GAP * interval) & ~missing[:-1] & ~missing[1:]
    lost = int(missing.sum() + np.round(steps / interval - 1)[steps > _GAP * interval].sum())
    left, right = np.clip(t[:-1], start, stop), np.clip(t[1:], start, stop)
    # A sample at each end of the trace stands for half an interval beyond it.
    if start < t[0]:
        left[0] = start
    if stop > t[-1]:
        right[-1] = stop
    widths = np.where(bridged, right - left, 0.0)
    middles = np.where(steps > 0, ((left + right) / 2 - t[:-1]) / np.where(steps > 0, steps, 1), 0.0)
    strips = _Strips(widths, middles, bridged)
    return _summed(strips, amperes, volts, seconds=stop - start, lost=lost, samples=int((~missing).sum()))


@dataclass(frozen=True, eq=False)
class _Strips:
    """What lies between neighbouring samples.

    Attributes:
        widths: seconds [n - 1]; 0 where samples are lost.
        middles: where a strip's middle lies between its samples, 0 to 1 [n - 1]: a strip that the part's end cuts is a
            trapezoid too, its mean the value at its middle.
        bridged: whether a straight line joins the samples [n - 1].
    """

    widths: np.ndarray
    middles: np.ndarray
    bridged: np.ndarray

    @property
    def covered(self) -> float:
        """Seconds."""
        return float(self.widths.sum())

    def mean(self, values: np.ndarray) -> float:
        """Mean of values [n] over the covered part."""
        strips = np.where(self.bridged, values[:-1] + (values[1:] - values[:-1]) * self.middles, 0.0)
        return float((strips * self.widths).sum()) / self.covered


def _summed(
    strips: _Strips, amperes: np.ndarray, volts: np.ndarray, *, seconds: float, lost: int, samples: int
) -> Integral:
    covered = strips.covered
    if not covered:
        raise DeviceError(f"has no usable sample in {seconds:.6f} s", fix="Check the instrument's connection.")
    watts = amperes * volts
    power = strips.mean(watts)
    gap = max(seconds - covered, 0.0)
    spread = float(np.nanmax(watts) - np.nanmin(watts)) if gap else 0.0
    return Integral(
        joules=power * seconds,
        seconds=seconds,
        covered=min(covered, seconds),
        mean_amperes=strips.mean(amperes),
        volts=strips.mean(volts),
        samples=samples,
        lost=lost,
        gap_uncertainty=gap * spread,
    )
