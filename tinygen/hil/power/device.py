"""A device's side of an energy measurement: `infer N W` on one input after another, N for the length that is wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tinygen.errors import DeviceError
from tinygen.hil.power.energy import Clock, EnergyOptions, measure_energy
from tinygen.hil.power.monitor import PowerMonitor
from tinygen.hil.power.result import EnergyResult
from tinygen.hil.power.windows import Run

_MORE = 1.02
"""Margin: inferences may be this much quicker than the timed one without making the window too short."""


class Measured(Protocol):
    """The device's report of a run; `microseconds` between its timestamps, None if a pin marks them."""

    @property
    def microseconds(self) -> int | None: ...


class Measurable(Protocol):
    """A device that runs inferences between two timestamps, as MLPerf Tiny's do; a `DeviceClient`."""

    def load_db(self, data: bytes) -> None:
        """Loads an input."""

    def measure(self, iterations: int, warm_up: int = 0, *, seconds: float = 0.0) -> Measured:
        """Runs inferences on it, which take about `seconds`."""


def runs_of(
    client: Measurable,
    inputs: Sequence[bytes],
    inference_seconds: float,
    *,
    least: int,
    now: Callable[[], float] = time.monotonic,
) -> Callable[[int, float], Run]:
    """Makes the function `run` of `measure_energy` for a device.

    Args:
        client: of the device; in energy mode where the timestamp pin is wired.
        inputs: as the benchmark's runner sends them; each run takes the next.
        inference_seconds: how long one takes, so that a run gets as many as it needs.
        least: inferences in a run, however long they take.
        now: the clock for the times of runs.

    Raises:
        DeviceError: there is nothing to run, or no time it takes.
    """
    if not inputs or inference_seconds <= 0:
        raise DeviceError(f"cannot run {len(inputs)} inputs of {inference_seconds:g} s", fix="Give inputs.")

    def run(index: int, seconds: float) -> Run:
        client.load_db(inputs[index % len(inputs)])
        count = max(least, math.ceil(_MORE * seconds / inference_seconds))
        began = now()
        found = client.measure(count, 0, seconds=count * inference_seconds)
        ended = now()
        if found.microseconds is not None:
            # By the device's own clock; what lies before is the command on the line.
            began = max(began, ended - found.microseconds * 1e-6)
        return Run(count, began, ended, timed=found.microseconds is not None)

    return run


def measure_device(
    client: Measurable,
    monitor: PowerMonitor,
    inputs: Sequence[bytes],
    inference_seconds: float,
    options: EnergyOptions | None = None,
    clock: Clock | None = None,
) -> EnergyResult:
    """The energy of one inference of a device that answers already.

    Raises:
        DeviceError: see `measure_energy`.
    """
    options, clock = options or EnergyOptions(), clock or Clock()
    run = runs_of(client, inputs, inference_seconds, least=options.inferences, now=clock.now)
    return measure_energy(monitor, run, options, clock)
