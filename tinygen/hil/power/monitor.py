"""The common interface of power instruments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Edge:
    """A change of the digital input that the firmware's timestamp pin is wired to.

    Attributes:
        seconds: when, by the instrument's clock.
        high: the level afterwards.
    """

    seconds: float
    high: bool


@dataclass(frozen=True)
class Trace:
    """The samples and edges that an instrument recorded.

    Attributes:
        seconds: float64 [N], rising: when each sample was taken, by the instrument's clock; the middle of the interval
            where a sample is the mean over one.
        amperes: float64 [N], NaN where the instrument says that it lost samples.
        volts: float64 [N], or one number where the instrument supplies the board with a set voltage.
        edges: of the timestamp pin, in order; empty where it is not wired.
        host_start: this computer's `time.monotonic()` at `seconds` = 0, as well as the instrument's wire lets us know.
        host_rate: seconds of this computer per second of the instrument.
        host_uncertainty: by how much a time that was converted between both clocks may be off, seconds.
        edge_uncertainty: of the time of an edge, seconds; the sampling interval of the digital input.
        notes: what a reader of the figures should know, sentences.
    """

    seconds: np.ndarray
    amperes: np.ndarray
    volts: np.ndarray | float
    edges: tuple[Edge, ...]
    host_start: float
    host_rate: float = 1.0
    host_uncertainty: float = 0.0
    edge_uncertainty: float = 0.0
    notes: tuple[str, ...] = ()

    def at_host(self, moment: float) -> float:
        """The instrument's time at this computer's `time.monotonic()`."""
        return (moment - self.host_start) / self.host_rate


class PowerMonitor(Protocol):
    """An instrument between a supply and the board.

    Attributes:
        name: for reports: "Nordic PPK2 (COM3)".
    """

    name: str

    def start(self) -> None:
        """Begins to sample.

        Raises:
            DeviceError: the instrument is not there, or refuses.
        """

    def stop(self) -> Trace:
        """Ends sampling, gives what was seen since `start`.

        Raises:
            DeviceError: the instrument went away, or what it sent cannot be read.
        """

    def close(self) -> None:
        """Lets the instrument go; the board loses its supply where the instrument gave it."""
