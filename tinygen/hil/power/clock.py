"""Fits an instrument's clock to this computer's, by the arrival times of its samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.errors import DeviceError
from tinygen.hil.power.monitor import Trace

LOST_HELP = "Use a USB port of the computer itself, close other programs, or lower the sampling rate."
_SKEW_SPAN = 2.0
"""Shortest span of arrivals, in seconds, over which the drift between two quartz clocks exceeds the delays."""
_MAX_SKEW = 2e-3
"""Bound on the relative drift: quartz clocks and RC oscillators trimmed by USB are better than this."""
_MAX_DELAY = 0.05
"""Seconds by which the promptest arrivals may be late on a busy computer."""


@dataclass(frozen=True)
class ClockFit:
    """host = start + rate * instrument, both in seconds.

    Attributes:
        start, rate: of the line.
        uncertainty: median time by which samples arrived after the line says, seconds. The shortest delay of the wire
            is inside `start`: nothing that arrives can tell it.
    """

    start: float
    rate: float
    uncertainty: float


def fit_clock(instrument: np.ndarray, host: np.ndarray) -> ClockFit:
    """The line that no sample arrives before, and that is nearest to all arrivals.

    Delays are never negative, so the line runs along the lower edge of the arrivals, where delays were shortest; among
    such lines the one with the least sum of delays is the side of the lower convex hull over the mean time.

    Args:
        instrument: float64 [N], rising: the last sample of each piece that arrived, by the instrument's clock.
        host: float64 [N]: when that piece was here.
    """
    assert len(instrument) == len(host) and len(instrument)
    if instrument[-1] - instrument[0] < _SKEW_SPAN:
        delays = host - instrument
        start = float(delays.min())
        return ClockFit(start, 1.0, float(np.median(delays - start)))
    left, right = _side_over(_lower_hull(instrument, host), instrument, float(instrument.mean()))
    rate = float((host[right] - host[left]) / (instrument[right] - instrument[left]))
    start = float(host[left] - rate * instrument[left])
    return ClockFit(start, rate, float(np.median(host - start - rate * instrument)))


def _lower_hull(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Indices of the corners of the lower convex hull of points with rising x (Andrew's monotone chain)."""
    corners: list[int] = []
    for i in range(len(x)):
        while len(corners) > 1 and _not_convex(x, y, corners[-2], corners[-1], i):
            corners.pop()
        corners.append(i)
    return corners


def _not_convex(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> bool:
    return bool((x[b] - x[a]) * (y[c] - y[a]) <= (y[b] - y[a]) * (x[c] - x[a]))


def _side_over(corners: list[int], x: np.ndarray, place: float) -> tuple[int, int]:
    right = next(i for i in range(1, len(corners)) if x[corners[i]] >= place or i == len(corners) - 1)
    return corners[right - 1], corners[right]


def check_clock(trace: Trace, where: str) -> None:
    """
    Raises:
        DeviceError: the trace's clock is so far from this computer's that samples must be missing.
    """
    span = float(trace.seconds[-1] - trace.seconds[0])
    if abs(trace.host_rate - 1) > max(_MAX_SKEW, _MAX_DELAY / max(span, _SKEW_SPAN)):
        raise DeviceError(
            f"gave {span:.3f} s of samples in {span * trace.host_rate:.3f} s of this computer's clock: some are lost",
            where=where,
            fix=LOST_HELP,
        )
