"""Finds the beginning and end of runs of inferences in a trace, by the timestamp pin or by arrival times of
messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.errors import DeviceError
from tinygen.hil.power.monitor import Trace

HOLD_SECONDS = 50e-6
"""Falling edges closer than this are one pulse that bounced: EEMBC's runner, `timestamp-hold-us` in its README."""
MESSAGE_SECONDS = 0.02
"""How late a message may be read: FTDI's USB serial adapters hold it for up to 16 ms (AN232B-04, latency timer)."""
_LEAST_SHARE = 0.9
"""Share of a run without its warm-ups that its two edges must span; the rest is for messages."""
_LINE_SECONDS = 0.5
"""Seconds that the command and its reply, a few hundred bytes, take at 9600 baud."""
_PIN_HELP = (
    "Wire the board's timestamp pin (`timestamp` in its board file) to the instrument's digital input, and both "
    "grounds together; build with --mode energy."
)


@dataclass(frozen=True)
class Run:
    """One `infer N W` of a device, seen from this computer.

    Attributes:
        inferences: N.
        began, ended: `time.monotonic()` when the N inferences began and ended, as messages tell; or, where energy mode
            sends none, when the command was sent and when its last line came.
        warmups: W, where `began` is before them.
        timed: whether messages told.
    """

    inferences: int
    began: float
    ended: float
    warmups: int = 0
    timed: bool = True

    @property
    def measured_seconds(self) -> float:
        """How long the N inferences took, about."""
        return (self.ended - self.began) * self.inferences / (self.inferences + self.warmups)


@dataclass(frozen=True)
class Window:
    """
    Attributes:
        start, stop: seconds of the instrument's clock.
        inferences: in between.
        uncertainty: of each end, seconds.
    """

    start: float
    stop: float
    inferences: int
    uncertainty: float


def falling_edges(trace: Trace) -> list[float]:
    """When the timestamp pin fell, bounces left out."""
    times: list[float] = []
    for edge in trace.edges:
        if not edge.high and (not times or edge.seconds - times[-1] > HOLD_SECONDS):
            times.append(edge.seconds)
    return times


def windows_from_edges(trace: Trace, runs: Sequence[Run]) -> list[Window]:
    """A window per run, from one falling edge to the next.

    As in MLPerf Tiny's runner the last two edges of a run count, since there may be some when the board starts; here
    they must also be as far apart as the run lasted.

    Raises:
        DeviceError: no edges, or not two of them that belong to a run.
    """
    edges = falling_edges(trace)
    if not edges:
        raise DeviceError("saw no falling edge of the timestamp pin", fix=_PIN_HELP)
    slack = MESSAGE_SECONDS + trace.host_uncertainty + trace.edge_uncertainty
    found = []
    for index, run in enumerate(runs):
        began, ended = trace.at_host(run.began) - slack, trace.at_host(run.ended) + slack
        mine = [time for time in edges if began <= time <= ended]
        if len(mine) < 2:
            raise DeviceError(
                f"saw {len(mine)} falling edge{'s' * (len(mine) != 1)} of the timestamp pin in run {index}, not two",
                fix=_PIN_HELP,
            )
        start, stop = mine[-2:]
        least = _LEAST_SHARE * run.measured_seconds - (0.0 if run.timed else _LINE_SECONDS)
        if stop - start < least / trace.host_rate - 2 * slack:
            raise DeviceError(
                f"saw {len(mine)} falling edges of the timestamp pin in run {index}, the last two {stop - start:.6f} s "
                f"apart, though the inferences took {run.measured_seconds:.3f} s",
                fix=_PIN_HELP,
            )
        found.append(Window(start, stop, run.inferences, trace.edge_uncertainty))
    return found


def windows_from_messages(trace: Trace, runs: Sequence[Run]) -> list[Window]:
    """A window per run, from when its messages arrived at this computer.

    Raises:
        DeviceError: no messages told when a run began, or not from when its warm-ups were over.
    """
    for index, run in enumerate(runs):
        if not run.timed:
            raise DeviceError(
                f"saw no timestamp pin, and no message told when run {index} began",
                fix=f"{_PIN_HELP} Or measure in performance mode, whose messages tell the time.",
            )
        if run.warmups:
            raise DeviceError(
                f"run {index} has {run.warmups} warm-ups that no message tells from its inferences",
                fix="Wire the timestamp pin, or run without warm-ups.",
            )
    uncertainty = trace.host_uncertainty + MESSAGE_SECONDS
    return [Window(trace.at_host(run.began), trace.at_host(run.ended), run.inferences, uncertainty) for run in runs]
