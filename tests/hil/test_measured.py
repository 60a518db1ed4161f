"""Sessions with an instrument: a board that draws a known current, while host firmware computes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hil.client import DeviceClient
from hil.power import EnergyOptions, Trace
from tests.hil.faulty import FaultyDevice, digits_on, resets
from tinygen.errors import DeviceError, TinygenError
from tinygen.verbs.hil import HilOptions, hil

AMPERES, VOLTS, RATE = 0.1, 3.3, 1000
QUICK = EnergyOptions(runs=3, seconds=0.3, inferences=10, idle_seconds=0.5)


class Steady:
    """An instrument that sees the same current all the time."""

    name = "steady"

    def __init__(self, fault: str = "") -> None:
        self.fault, self.began = fault, 0.0

    def start(self) -> None:
        self.began = time.monotonic()

    def stop(self) -> Trace:
        if self.fault:
            raise DeviceError(self.fault, where=self.name)
        seconds = np.arange(0, time.monotonic() - self.began, 1 / RATE)
        return Trace(seconds, np.full(len(seconds), AMPERES), VOLTS, (), self.began)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_on("host", tmp_path_factory.mktemp("digits"))


@pytest.fixture
def device(folder: Path) -> FaultyDevice:
    return FaultyDevice([folder / "firmware.elf"], "tg-run", (), resets)


class Counted:
    """How often the device ran."""

    def __init__(self) -> None:
        self.measured: list[int] = []
        self.db = b""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Runs one behind the other, by single commands; the form of inputs is that of MLPerf Tiny's images."""
    counted = Counted()

    def load_db(self: DeviceClient, data: bytes) -> None:
        counted.db = data

    def measure(
        self: DeviceClient, iterations: int, warm_up: int = 0, codes: Sequence[bytes] | None = None
    ) -> SimpleNamespace:
        loaded = bytes(byte ^ 0x80 for byte in counted.db)
        if codes is not None and loaded != b"".join(codes):
            raise DeviceError("did not run on what was loaded")
        began = time.monotonic()
        for _ in range(iterations):
            self.infer([loaded])
        counted.measured.append(iterations)
        return SimpleNamespace(microseconds=int((time.monotonic() - began) * 1e6))

    monkeypatch.setattr(DeviceClient, "load_db", load_db, raising=False)
    monkeypatch.setattr(DeviceClient, "measure", measure, raising=False)
    return counted


def test_energy(folder: Path, device: FaultyDevice, counted: Counted) -> None:
    report = hil(folder, HilOptions(limit=2), transport=device, monitor=Steady(), energy=QUICK)
    assert report.passed, [one["message"] for one in report.content["checks"] if one["status"] == "failed"]
    (part,) = report.content["switches"]
    (energy,) = part["energy"]
    assert energy["source"] == "measured" and "steady: median of 3 windows by message times" in energy["about"]
    first, calibration, *runs = counted.measured
    assert (first, calibration) == (1, 10) and len(runs) == 3
    windows = energy["windows"]
    assert [window["inferences"] for window in windows] == runs
    each = [AMPERES * VOLTS * window["seconds"] / window["inferences"] * 1e6 for window in windows]
    assert energy["microjoules"] == pytest.approx(float(np.median(each)), rel=0.02)
    low, high = energy["interval"]
    assert low < energy["microjoules"] < high
    assert 'name="energy_uj_measured"' in report.junit() and "predicted" not in report.junit()


def test_a_measurement_that_fails(folder: Path, device: FaultyDevice, counted: Counted) -> None:
    """It costs no result."""
    report = hil(folder, HilOptions(limit=2), transport=device, monitor=Steady("was unplugged"), energy=QUICK)
    assert not report.passed
    (failed,) = (one for one in report.content["checks"] if one["status"] == "failed")
    assert failed["name"] == "energy" and "steady: was unplugged" in failed["message"]
    (part,) = report.content["switches"]
    assert part["completed"] == 2 and part["energy"] == []


def test_emulated_boards_draw_nothing(folder: Path) -> None:
    with pytest.raises(TinygenError, match="what runs is emulated"):
        hil(folder, monitor=Steady())
