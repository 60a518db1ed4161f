"""A PPK2 below `ppk2_api`: a serial port that takes the package's command bytes and gives words as the hardware does.

Commands and word layout: pc-nrfconnect-ppk, constants.ts and serialDevice.ts. The calibration is inverted here, so that
what the package makes of a word is the current that the board drew.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import serial

from tests.hil.power.waveform import Waveform

HERTZ = 100_000
R = (1003.3506, 101.5865, 10.3027, 0.9636, 0.0564)
GS = (0.0, 112.7890, 18.0115, 2.4217, 0.0729)
GI = (1.0, 0.9695, 0.9609, 0.9519, 0.9582)
O = (112.9420, 75.4627, 64.6020, 50.4983, 86.1270)  # noqa: E741  (the calibration's own name)
S = (0.000000048, 0.000000596, 0.000005281, 0.000062577, 0.002940743)
I = (-0.000000104, -0.000001443, 0.000036439, -0.000374119, -0.009388455)  # noqa: E741
UG = (1.0, 1.0, 1.0, 1.0, 1.0)
_TOP = (50e-6, 500e-6, 5e-3, 60e-3)
"""Amperes up to which a range measures (PPK2 user guide); the fifth goes to 1 A."""
_LSB = 1.8 / 163840


@dataclass
class Ppk2Faults:
    """
    Attributes:
        ppm: by how much its clock is fast.
        dropped: (first, count) of words that never arrive.
        cut: (word, bytes): so many bytes are lost from that word on.
        garbage: (word, bytes): arrive before that word.
        unplugged: true time when it goes away.
        spike: factor on the current in the first two words of a range.
        pin: digital channel of the timestamp pin; None where it is not wired.
        silent: it never answers.
    """

    ppm: float = 0.0
    dropped: tuple[int, int] = (0, 0)
    cut: tuple[int, int] | None = None
    garbage: tuple[int, bytes] | None = None
    unplugged: float | None = None
    spike: float = 1.5
    pin: int | None = 0
    silent: bool = False


class Ppk2Double:
    """What the package opens instead of a serial port: `Serial(port, **settings)`."""

    def __init__(self, waveform: Waveform, faults: Ppk2Faults | None = None) -> None:
        self.waveform, self.faults = waveform, faults or Ppk2Faults()
        self.commands: list[bytes] = []
        self.baudrate = 0
        self._lock = threading.Lock()
        self._asked_again = threading.Event()
        self._pending = b""
        self._running, self._time, self._start, self._word, self._range = False, 0.0, 0.0, 0, -1
        self._switched = False
        self.gone = False
        self._rng = np.random.default_rng(1)
        self.closed = False

    def __call__(self, port: str, **settings: object) -> Ppk2Double:
        if port != "/dev/ttyPPK2":
            raise serial.SerialException(2, f"could not open port {port}")
        return self

    @property
    def in_waiting(self) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        with self._lock:
            if not self._pending:
                self._asked_again.set()
            return len(self._pending)

    def read(self, size: int) -> bytes:
        with self._lock:
            piece, self._pending = self._pending[:size], self._pending[size:]
        return piece

    def write(self, data: bytes) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        self.commands.append(data)
        with self._lock:
            if data == b"\x19" and not self.faults.silent:
                self._pending += self._metadata()
            elif data == b"\x06":
                self._running, self._start, self._word = True, self._time, 0
            elif data == b"\x07":
                self._running = False
        return len(data)

    def close(self) -> None:
        self.closed = True

    def _metadata(self) -> bytes:
        lines = ["Calibrated: 0"]
        for name, values in (("R", R), ("GS", GS), ("GI", GI), ("O", O), ("S", S), ("I", I), ("UG", UG)):
            lines += [f"{name}{index}: {value:.9f}" for index, value in enumerate(values)]
        return ("\n".join([*lines, "VDD: 3300", "HW: 9173", "IA: 56", "END"]) + "\n").encode()

    def produce(self, until: float) -> None:
        with self._lock:
            self._time = until
            if self._running and self.faults.unplugged is not None and until >= self.faults.unplugged:
                self.gone = True
            elif self._running:
                self._pending += self._words(until)
                self._asked_again.clear()
        if self._running and not self.gone:
            # The driver has noted when what it read arrived, once it asks for more.
            assert self._asked_again.wait(60.0)

    def _words(self, until: float) -> bytes:
        rate = HERTZ * (1 + self.faults.ppm * 1e-6)
        numbers = np.arange(self._word, int((until - self._start) * rate))
        if not len(numbers):
            return b""
        self._word += len(numbers)
        moments = self._start + numbers / rate
        amperes = self.waveform.current(moments)
        pins = self.waveform.pin(moments) if self.faults.pin is not None else np.zeros(len(numbers), bool)
        chosen = np.searchsorted(_TOP, amperes, "right")
        switched = np.diff(chosen, prepend=self._range) != 0
        # The first two words of a range carry the transient; never those of the whole stream.
        spiked = switched | np.r_[self._switched, switched[:-1]]
        spiked &= numbers > 1
        self._range, self._switched = int(chosen[-1]), bool(switched[-1])
        amperes = np.where(spiked, amperes * self.faults.spike, amperes)
        codes = _converter(amperes, chosen, self.waveform.volts) / 4 + self._rng.uniform(-0.5, 0.5, len(numbers))
        raw = np.clip(np.round(codes), 0, 0x3FFF).astype(np.int64)
        words = raw | chosen << 14 | (numbers & 63) << 18 | pins.astype(np.int64) << 24 + (self.faults.pin or 0)
        return self._damaged(int(numbers[0]), words.astype("<u4").tobytes())

    def _damaged(self, first: int, data: bytes) -> bytes:
        """
        Args:
            first: number of the first word.
            data: words without faults.
        """
        faults = self.faults
        place, count = faults.dropped
        # From behind, so that places before stay where they are.
        for word, lost, noise in sorted(
            [(place, 4 * count, b""), (*(faults.cut or (0, 0)), b""), (*_noise(faults.garbage),)], reverse=True
        ):
            begin = 4 * (word - first)
            if noise and 0 <= begin < len(data):
                data = data[:begin] + noise + data[begin:]
            elif begin < len(data) and begin + lost > 0:
                data = data[: max(begin, 0)] + data[max(begin + lost, 0) :]
        return data


def _noise(garbage: tuple[int, bytes] | None) -> tuple[int, int, bytes]:
    return (garbage[0], 0, garbage[1]) if garbage else (0, 0, b"")


def _converter(amperes: np.ndarray, chosen: np.ndarray, volts: float) -> np.ndarray:
    """Four times the converter's code: the package's formula, solved for it."""
    r, gs, gi, o, s, i, ug = (np.array(values)[chosen] for values in (R, GS, GI, O, S, I, UG))
    plain = amperes / ug - (s * volts + i)
    square = np.where(gs > 0, gs, 1.0)
    x = np.where(gs > 0, (-gi + np.sqrt(gi * gi + 4 * square * plain)) / (2 * square), plain / gi)
    return x * r / _LSB + o
