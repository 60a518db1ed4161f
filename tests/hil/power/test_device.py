"""Device and instrument together: inputs in turn, as many inferences as a window needs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.hil.power.bench import Bench
from tests.hil.power.lpm01a_double import Lpm01aDouble, Lpm01aFaults
from tests.hil.power.waveform import Piece, Waveform
from tinygen.errors import DeviceError
from tinygen.hil.power import EnergyOptions, measure_device, runs_of
from tinygen.hil.power.lpm01a import Lpm01a
from tinygen.hil.power.result import MESSAGES, PIN

INFERENCE = 0.0125
"""Seconds of the simulated device."""


@dataclass(frozen=True)
class _Window:
    microseconds: int | None


class _Device:
    """Runs where the waveform has its runs, each after a command of 30 ms."""

    def __init__(self, bench: Bench, pin: bool) -> None:
        self.bench, self.pin = bench, pin
        self.loaded: list[bytes] = []
        self.asked: list[tuple[int, int]] = []

    def load_db(self, data: bytes) -> None:
        self.bench.until(self.bench.waveform.pieces[len(self.asked)].start - 0.030)
        self.loaded.append(data)

    def measure(self, iterations: int, warm_up: int = 0, *, seconds: float = 0.0) -> _Window:
        piece = self.bench.waveform.pieces[len(self.asked)]
        self.asked.append((iterations, warm_up))
        assert piece.stop - piece.start == pytest.approx(iterations * INFERENCE)
        self.bench.until(piece.stop + 0.002)
        return _Window(None if self.pin else round((piece.stop - piece.start) * 1e6))


@pytest.mark.parametrize("pin", [True, False])
def test_energy_of_a_device(pin: bool) -> None:
    # 0.5 s need 40.8 inferences of 12.5 ms.
    pieces = tuple(Piece(0.7 + 0.8 * i, 0.7 + 0.8 * i + 41 * INFERENCE, 0.020, ripple=0.002, hz=80.0) for i in range(3))
    bench = Bench(Waveform(0.003, pieces), step=0.05)
    bench.double = double = Lpm01aDouble(bench.waveform, Lpm01aFaults(events=pin))
    monitor = Lpm01a(double.port, now=bench.now)
    device = _Device(bench, pin)
    options = EnergyOptions(runs=3, seconds=0.5, idle_seconds=0.5)
    result = measure_device(device, monitor, [b"a", b"b"], INFERENCE, options, bench.clock)
    monitor.close()
    double.close()
    assert device.loaded == [b"a", b"b", b"a"] and device.asked == [(41, 0)] * 3
    assert result.windows_from == (PIN if pin else MESSAGES)
    wanted = bench.waveform.joules(0) / 41
    assert result.median == pytest.approx(wanted, rel=4e-3)
    assert abs(result.median - wanted) <= result.uncertainty


def test_at_least_ten_inferences_however_slow() -> None:
    class Slow:
        asked = 0

        def load_db(self, data: bytes) -> None: ...

        def measure(self, iterations: int, warm_up: int = 0, *, seconds: float = 0.0) -> _Window:
            self.asked = iterations
            assert seconds == 70.0  # longer than the client would wait for an inference
            return _Window(None)

    device = Slow()
    assert runs_of(device, [b""], 7.0, least=10)(0, 10.0).inferences == device.asked == 10


def test_nothing_to_run() -> None:
    with pytest.raises(DeviceError, match="cannot run 0 inputs"):
        runs_of(_Device(Bench(Waveform(0.0, ())), pin=True), [], 0.1, least=10)
