"""Currents whose integral is known: idle, and runs of inferences marked by pulses of the timestamp pin."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from tinygen.hil.power.windows import Run

PULSE_SECONDS = 100e-6


@dataclass(frozen=True)
class Piece:
    """`level + slope * (t - start) + ripple * sin(2 pi hz (t - start))` amperes from `start` to `stop` seconds."""

    start: float
    stop: float
    level: float
    slope: float = 0.0
    ripple: float = 0.0
    hz: float = 0.0

    def current(self, t: np.ndarray) -> np.ndarray:
        t = t - self.start
        return self.level + self.slope * t + self.ripple * np.sin(2 * np.pi * self.hz * t)

    def charge(self, t0: float, t1: float) -> float:
        def primitive(t: float) -> float:
            wave = self.ripple * (1 - math.cos(2 * math.pi * self.hz * t)) / (2 * math.pi * self.hz) if self.hz else 0.0
            return self.level * t + self.slope * t * t / 2 + wave

        t0, t1 = max(t0, self.start), min(t1, self.stop)
        return primitive(t1 - self.start) - primitive(t0 - self.start) if t1 > t0 else 0.0


@dataclass(frozen=True)
class Waveform:
    """A board's current over true time.

    Attributes:
        idle: amperes before, between and after the runs.
        pieces: the runs, in order, without overlap.
        volts: supplied.
    """

    idle: float
    pieces: tuple[Piece, ...]
    volts: float = 3.3
    marks: tuple[float, ...] = field(default=())

    def current(self, t: np.ndarray) -> np.ndarray:
        amperes = np.full(np.shape(t), self.idle)
        for piece in self.pieces:
            inside = (t >= piece.start) & (t < piece.stop)
            amperes[inside] = piece.current(t[inside])
        return amperes

    def mean_current(self, edges: np.ndarray) -> np.ndarray:
        """The exact mean between neighbouring times, [n - 1] of [n]."""
        return np.array([self.charge(a, b) / (b - a) for a, b in itertools.pairwise(edges.tolist())])

    def charge(self, t0: float, t1: float) -> float:
        busy = [piece for piece in self.pieces if piece.start < t1 and piece.stop > t0]
        inside = sum(min(p.stop, t1) - max(p.start, t0) for p in busy)
        return sum(p.charge(t0, t1) for p in busy) + self.idle * (t1 - t0 - inside)

    def joules(self, index: int) -> float:
        """Of run `index`."""
        return self.volts * self.pieces[index].charge(self.pieces[index].start, self.pieces[index].stop)

    def falls(self) -> tuple[float, ...]:
        """When the timestamp pin falls: where a run begins, where it ends, and `marks`."""
        ends = [time for piece in self.pieces for time in (piece.start, piece.stop)]
        return tuple(sorted((*ends, *self.marks)))

    def pin(self, t: np.ndarray) -> np.ndarray:
        """The pin's level."""
        low = np.zeros(np.shape(t), bool)
        for fall in self.falls():
            low |= (t >= fall) & (t < fall + PULSE_SECONDS)
        return ~low


def runs_of_inferences(
    count: int, seconds: float, *, idle: float = 0.010, level: float = 0.080, first: float = 1.0, pause: float = 0.25
) -> Waveform:
    """`count` runs, each with another level, a slope and a ripple, after `first` seconds of idling."""
    pieces = []
    start = first
    for index in range(count):
        own = level * (1 + 0.02 * index)
        pieces.append(Piece(start, start + seconds, own, slope=own * 0.1 / seconds, ripple=own * 0.2, hz=37.0))
        start += seconds + pause
    return Waveform(idle, tuple(pieces))


def host_runs(waveform: Waveform, inferences: int, *, offset: float = 0.0, latency: float = 0.002) -> list[Run]:
    """The runs as their messages arrive at a computer whose clock says `offset` at true time 0."""
    return [Run(inferences, offset + p.start + latency, offset + p.stop + latency) for p in waveform.pieces]
