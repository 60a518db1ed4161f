"""Energy per inference as MLPerf Tiny's energy mode measures it, and our own figure net of idle.

The benchmark's runner (mlcommons/tiny, benchmark/runner: `print_energy_results` in main.py and tests_energy.yaml;
EEMBC's before it) runs `infer N W` five times on five inputs, adds up the instrument's energy between the two falling
edges that the timestamp pin shows, divides by N, and gives the median. Nothing is taken off for idle, and a window
must last 10 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.clock import LOST_HELP, check_clock
from tinygen.hil.power.integral import Integral, integrate, sample_interval
from tinygen.hil.power.monitor import PowerMonitor, Trace
from tinygen.hil.power.result import (
    MEASURED,
    MESSAGES,
    MIN_INFERENCES,
    MIN_SECONDS,
    PIN,
    RUNS,
    EnergyResult,
    Idle,
    WindowEnergy,
    shortcomings,
)
from tinygen.hil.power.windows import Run, Window, windows_from_edges, windows_from_messages

__all__ = ["EnergyOptions", "Run", "Window", "energy_of", "energy_of_runs", "measure_energy"]

MAX_LOST_SHARE = 0.001
"""Largest share of lost samples in a window; EEMBC's runner refuses more as well (`emon-drop-thresh-pct=0.1` in
eembc/energyrunner, README).
"""
_VOLTS_TOLERANCE = 0.05
_SETTLE_SECONDS = 0.1
"""Seconds excluded at both ends of idle time: a message may still be on the line."""


@dataclass(frozen=True)
class EnergyOptions:
    """How to measure.

    Attributes:
        runs: windows; the median of them counts.
        seconds, inferences: at least so much in each window.
        idle_seconds: how long idle power is measured before the first run, while the board waits for a command; 0 to
            skip.
        volts: expected supply voltage of the board; None if unknown.
        pin: True when windows must come from the timestamp pin, False when from message times; None takes the pin
            where it shows any edge.
        max_lost_share: largest share of a window's samples that may be lost, 0 to 1.
    """

    runs: int = RUNS
    seconds: float = MIN_SECONDS
    inferences: int = MIN_INFERENCES
    idle_seconds: float = 2.0
    volts: float | None = None
    pin: bool | None = None
    max_lost_share: float = MAX_LOST_SHARE


@dataclass(frozen=True)
class Clock:
    """The clock that times runs: this computer's, or a simulated one in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def measure_energy(
    monitor: PowerMonitor,
    run: Callable[[int, float], Run],
    options: EnergyOptions | None = None,
    clock: Clock | None = None,
) -> EnergyResult:
    """Drives device and instrument together.

    Args:
        monitor: supplies the board already, so that the device answers.
        run: makes the device run once: called with the number of the run (another input for each, as the benchmark
            does) and the seconds that it must last at least; gives what it did.
        options: how to measure.
        clock: that `run` tells times by.

    Raises:
        DeviceError: the instrument went away, refuses, lost too many samples, or shows no windows; or the board has
            another voltage than it should.
        TinygenError: whatever `run` raises; the instrument is stopped before.
    """
    options, clock = options or EnergyOptions(), clock or Clock()
    runs: list[Run] = []
    monitor.start()
    try:
        begin = clock.now()
        clock.sleep(options.idle_seconds)
        idle = (begin, clock.now())
        for index in range(options.runs):
            runs.append(run(index, options.seconds))
        clock.sleep(_SETTLE_SECONDS)
    except BaseException:
        _abandon(monitor)
        raise
    trace = monitor.stop()
    return energy_of_runs(trace, runs, options, name=monitor.name, idle=idle if options.idle_seconds else None)


def _abandon(monitor: PowerMonitor) -> None:
    """Stops an instrument whose samples are no longer needed, and ignores its errors."""
    with suppress(TinygenError):
        monitor.stop()


def energy_of_runs(
    trace: Trace, runs: Sequence[Run], options: EnergyOptions, *, name: str, idle: tuple[float, float] | None = None
) -> EnergyResult:
    """Computes the energy of the runs in a trace.

    Args:
        trace: of the instrument.
        runs: what the device did, by this computer's clock.
        options: how it was to be measured.
        name: of the instrument.
        idle: from when to when the device waited for a command, by this computer's clock; None when it did not.

    Raises:
        DeviceError: see `measure_energy`.
    """
    try:
        sample_interval(trace)
        check_clock(trace, name)
        use_pin = bool(trace.edges) if options.pin is None else options.pin
        windows = windows_from_edges(trace, runs) if use_pin else windows_from_messages(trace, runs)
        part = None if idle is None else _inside(trace, idle)
        return energy_of(trace, windows, part, options, name=name, windows_from=PIN if use_pin else MESSAGES)
    except DeviceError as error:
        if error.where:
            raise
        raise DeviceError(error.what, where=name, fix=error.fix) from error


def _inside(trace: Trace, idle: tuple[float, float]) -> tuple[float, float]:
    """Idle time by the instrument's clock, without its ends."""
    margin = _SETTLE_SECONDS + trace.host_uncertainty
    begin = max(trace.at_host(idle[0]), float(trace.seconds[0])) + margin
    end = trace.at_host(idle[1]) - margin
    if end <= begin:
        raise DeviceError(
            f"watched the idle board for {idle[1] - idle[0]:.3f} s, which is too short",
            fix=f"Use at least {4 * margin:.1f} s.",
        )
    return begin, end


def energy_of(
    trace: Trace,
    windows: Sequence[Window],
    idle: tuple[float, float] | None = None,
    options: EnergyOptions | None = None,
    *,
    name: str = "",
    windows_from: str = PIN,
) -> EnergyResult:
    """Computes the energy of windows of a trace.

    Args:
        trace: of the instrument.
        windows: by the instrument's clock; at least one.
        idle: a part, by the instrument's clock, in which the board waits for a command.
        options: what is refused.
        name: of the instrument.
        windows_from: how the windows were found.

    Raises:
        DeviceError: too many samples are lost, the voltage is wrong, or a window is outside the trace.
    """
    options = options or EnergyOptions()
    found = tuple(_window(trace, index, window, options) for index, window in enumerate(windows))
    resting = None if idle is None else _checked(integrate(trace, *idle), "while the board was idle", options)
    skew = (trace.host_rate - 1) * 1e6
    notes = [*trace.notes, *shortcomings(found)]
    if windows_from == MESSAGES:
        notes.append("windows are from when messages arrived, not from the timestamp pin")
    if abs(skew) > _SKEW_NOTED:
        notes.append(f"the instrument's clock is {skew:+.0f} ppm off this computer's; which is right is not known")
    return EnergyResult(
        source=MEASURED,
        instrument=name,
        windows_from=windows_from,
        windows=found,
        idle=None if resting is None else Idle(resting.watts, resting.mean_amperes, resting.seconds),
        sample_rate=1 / sample_interval(trace),
        notes=tuple(notes),
    )


_SKEW_NOTED = 100.0
"""Ppm: two quartzes of +-50 ppm."""


def _window(trace: Trace, index: int, window: Window, options: EnergyOptions) -> WindowEnergy:
    part = _checked(integrate(trace, window.start, window.stop), f"in window {index}", options)
    # As if the window's mean power were on the wrong side of both ends, for as long as they may be off; what happens
    # between two samples is not known either.
    ends = 2 * (window.uncertainty + sample_interval(trace) / 2) * part.watts
    clocks = abs(trace.host_rate - 1) * part.joules
    return WindowEnergy(
        start=window.start,
        stop=window.stop,
        inferences=window.inferences,
        joules=part.joules,
        uncertainty=ends + clocks + part.gap_uncertainty,
        mean_amperes=part.mean_amperes,
        volts=part.volts,
        samples=part.samples,
        lost=part.lost,
    )


def _checked(part: Integral, place: str, options: EnergyOptions) -> Integral:
    if part.lost_share > options.max_lost_share and part.lost:
        raise DeviceError(
            f"lost {part.lost} samples {place}, {100 * part.lost_share:.3f} % of its time; at most "
            f"{100 * options.max_lost_share:g} % may be missing",
            fix=LOST_HELP,
        )
    if options.volts is not None and abs(part.volts - options.volts) > _VOLTS_TOLERANCE * options.volts:
        raise DeviceError(
            f"supplied the board with {part.volts:.3f} V {place}, not with {options.volts:.3f} V",
            fix="Check the supply, and the board's jumpers for its supply current.",
        )
    return part
