"""What every power instrument offers, whatever its wire."""

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
    """What an instrument saw.

    Attributes:
        seconds: float64 [N], rising: when each sample was taken, by the instrument's clock.
        amperes: float64 [N], NaN where the instrument says that it lost samples.
        volts: float64 [N], or one number where the instrument supplies the board with a set voltage.
        edges: of the timestamp pin, in order; empty where it is not wired.
        host_start: this computer's `time.monotonic()` at `seconds` = 0, as well as the instrument's wire lets us know.
    """

    seconds: np.ndarray
    amperes: np.ndarray
    volts: np.ndarray | float
    edges: tuple[Edge, ...]
    host_start: float


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
