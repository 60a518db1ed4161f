"""The energy of an inference, as reports give it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

MEASURED, PREDICTED = "measured", "predicted"
PIN, MESSAGES, CYCLES = "timestamp pin", "message times", "predicted cycles"
MIN_SECONDS, MIN_INFERENCES, RUNS = 10.0, 10, 5
"""What MLPerf Tiny asks of an energy result: five windows of at least 10 s and 10 inferences, their median counts
(mlcommons/tiny, benchmark/runner: `print_energy_results` in main.py, tests_energy.yaml; eembc/energyrunner: README)."""


@dataclass(frozen=True)
class WindowEnergy:
    """One run of inferences.

    Attributes:
        start, stop: seconds of the instrument's clock.
        inferences: how many the window holds.
        joules: total energy in the window, idle power included.
        uncertainty: of `joules`, from where the window begins and ends, from clocks and from lost samples; the
            instrument's own accuracy comes on top.
        mean_amperes, volts: mean over the window.
        samples: that the integral rests on.
        lost: samples that the instrument says are missing.
    """

    start: float
    stop: float
    inferences: int
    joules: float
    uncertainty: float
    mean_amperes: float
    volts: float
    samples: int
    lost: int

    @property
    def seconds(self) -> float:
        return self.stop - self.start

    @property
    def joules_per_inference(self) -> float:
        return self.joules / self.inferences


@dataclass(frozen=True)
class Idle:
    """What the board draws while it waits for a command.

    Attributes:
        watts, amperes: mean.
        seconds: duration of the idle measurement.
    """

    watts: float
    amperes: float
    seconds: float


@dataclass(frozen=True)
class EnergyResult:
    """The energy of one inference.

    Attributes:
        source: "measured" or "predicted".
        instrument: its name; for a prediction, where the board's current is from.
        windows_from: "timestamp pin", "message times" or "predicted cycles".
        windows: in the order of the runs.
        idle: None where it was not looked at.
        sample_rate: of the currents, Hz; None for a prediction.
        notes: sentences: why this is less than MLPerf Tiny asks for, and what else a reader should know.
    """

    source: str
    instrument: str
    windows_from: str
    windows: tuple[WindowEnergy, ...]
    idle: Idle | None
    sample_rate: float | None
    notes: tuple[str, ...] = ()

    @property
    def median(self) -> float:
        """Joules per inference as MLPerf Tiny's energy mode counts them: all that flows between two timestamps."""
        return statistics.median(window.joules_per_inference for window in self.windows)

    @property
    def spread(self) -> float:
        """Largest minus smallest joules per inference over the windows."""
        figures = [window.joules_per_inference for window in self.windows]
        return max(figures) - min(figures)

    @property
    def uncertainty(self) -> float:
        """Uncertainty of `median` in joules: the largest of the windows'."""
        return max(window.uncertainty / window.inferences for window in self.windows)

    @property
    def net_of_idle(self) -> float | None:
        """Median of joules per inference minus idle energy: our own figure, not MLPerf Tiny's."""
        if self.idle is None:
            return None
        watts = self.idle.watts
        return statistics.median((w.joules - watts * w.seconds) / w.inferences for w in self.windows)

    def as_json(self) -> dict[str, Any]:
        """Units are in the keys' names. Energies of one inference in microjoules, of windows in joules."""
        net = self.net_of_idle
        return {
            "source": self.source,
            "instrument": self.instrument,
            "windows_from": self.windows_from,
            "microjoules_per_inference": self.median * 1e6,
            "microjoules_spread": self.spread * 1e6,
            "microjoules_uncertainty": self.uncertainty * 1e6,
            "microjoules_per_inference_net_of_idle": None if net is None else net * 1e6,
            "idle_milliamperes": None if self.idle is None else self.idle.amperes * 1e3,
            "idle_milliwatts": None if self.idle is None else self.idle.watts * 1e3,
            "sample_rate_hz": self.sample_rate,
            "lost_samples": sum(window.lost for window in self.windows),
            "mlperf_tiny": not shortcomings(self.windows),
            "windows": [_window_json(window) for window in self.windows],
            "notes": list(self.notes),
        }


def _window_json(window: WindowEnergy) -> dict[str, Any]:
    return {
        "seconds": window.seconds,
        "inferences": window.inferences,
        "joules": window.joules,
        "joules_uncertainty": window.uncertainty,
        "mean_milliamperes": window.mean_amperes * 1e3,
        "volts": window.volts,
        "samples": window.samples,
        "lost_samples": window.lost,
    }


def shortcomings(windows: tuple[WindowEnergy, ...]) -> tuple[str, ...]:
    """Why these windows would not count as an energy result of MLPerf Tiny; empty when they would."""
    found = []
    if len(windows) != RUNS:
        found.append(f"{len(windows)} windows; MLPerf Tiny takes the median of {RUNS}")
    for index, window in enumerate(windows):
        if window.seconds < MIN_SECONDS:
            found.append(f"window {index} lasts {window.seconds:.3f} s; MLPerf Tiny asks for {MIN_SECONDS:g} s")
        if window.inferences < MIN_INFERENCES:
            found.append(f"window {index} has {window.inferences} inferences; MLPerf Tiny asks for {MIN_INFERENCES}")
    return tuple(found)
