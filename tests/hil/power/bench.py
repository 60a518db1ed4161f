"""A bench in simulated time: a board with a known current, an instrument's double, and this computer's clock."""

from __future__ import annotations

from typing import Protocol

from tests.hil.power.waveform import Waveform
from tinygen.hil.power.energy import Clock
from tinygen.hil.power.windows import Run

OFFSET = 1000.0
"""What this computer's clock says when the simulation begins."""


class Double(Protocol):
    """An instrument's double."""

    def produce(self, until: float) -> None:
        """Sends the samples up to a moment of true time; returns when they have been read."""


class Bench:
    """Simulated time; `now` and `sleep` are this computer's clock.

    Args:
        waveform: what the board draws.
        step: seconds after which the instrument sends what it has.
    """

    def __init__(self, waveform: Waveform, step: float = 0.02) -> None:
        self.waveform, self.step = waveform, step
        self.double: Double | None = None
        self.time = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.sleep)

    def now(self) -> float:
        return OFFSET + self.time

    def sleep(self, seconds: float) -> None:
        self.until(self.time + seconds)

    def until(self, end: float) -> None:
        assert self.double is not None
        while self.time < end - 1e-12:
            self.time = min(self.time + self.step, end)
            self.double.produce(self.time)

    def run(self, index: int, seconds: float) -> Run:
        """The waveform's next run; 100 inferences."""
        piece = self.waveform.pieces[index]
        assert piece.stop - piece.start >= seconds - 1e-9
        self.until(piece.start)
        began = self.now()
        self.until(piece.stop)
        ended = self.now()
        self.sleep(0.01)
        return Run(100, began, ended)
