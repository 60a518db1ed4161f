"""Sessions with an instrument: a board that draws a known current, while host firmware computes."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hil.faulty import FaultyDevice, digits_on, resets
from tinygen.emit import benchmark
from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.answers import Window
from tinygen.hil.client import DeviceClient
from tinygen.hil.power import EnergyOptions, Trace
from tinygen.verbs.hil import HilOptions, hil

AMPERES, VOLTS, RATE = 0.1, 3.3, 1000
QUICK = EnergyOptions(runs=3, seconds=0.3, inferences=10, idle_seconds=0.5)


class Steady:
    """An instrument that sees the same current all the time."""

    name = "steady"

    def __init__(self, fault: BaseException | None = None) -> None:
        self.fault, self.began = fault, 0.0

    def start(self) -> None:
        self.began = time.monotonic()

    def stop(self) -> Trace:
        if self.fault:
            raise self.fault
        seconds = np.arange(0, time.monotonic() - self.began, 1 / RATE)
        return Trace(seconds, np.full(len(seconds), AMPERES), VOLTS, (), self.began)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_on("host", tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as one of MLPerf Tiny's: it takes pixels, which are no codes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(benchmark._MODELS, "ic01", ((28, 28), (10,)))
        return digits_on("host", tmp_path_factory.mktemp("images"))


def device_of(folder: Path) -> FaultyDevice:
    return FaultyDevice([folder / "firmware.elf"], "infer", (), resets)


@pytest.mark.parametrize("kind", ["folder", "images"])
def test_energy(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = request.getfixturevalue(kind)
    loaded, measured = [], []
    load_db, measure = DeviceClient.load_db, DeviceClient.measure

    def spied_load(client: DeviceClient, data: bytes) -> None:
        loaded.append(data)
        load_db(client, data)

    def spied_measure(client: DeviceClient, iterations: int, *rest: Any, **named: Any) -> Window:
        measured.append(iterations)
        return measure(client, iterations, *rest, **named)

    monkeypatch.setattr(DeviceClient, "load_db", spied_load)
    monkeypatch.setattr(DeviceClient, "measure", spied_measure)
    report = hil(folder, HilOptions(limit=2), transport=device_of(folder), monitor=Steady(), energy=QUICK)
    assert report.passed, [one["message"] for one in report.content["checks"] if one["status"] == "failed"]
    (part,) = report.content["switches"]
    (energy,) = part["energy"]
    assert energy["source"] == "measured" and "steady: median of 3 windows by message times" in energy["about"]
    windows = energy["windows"]
    assert [window["inferences"] for window in windows] == measured[-3:]
    # Each on the next input, in the form that the firmware took.
    assert loaded[-3] == loaded[-1] == loaded[-4] != loaded[-2]
    assert (len(loaded), measured[:-3]) == ((4, [1]) if kind == "folder" else (5, [1, 1]))
    each = [AMPERES * VOLTS * window["seconds"] / window["inferences"] * 1e6 for window in windows]
    assert energy["microjoules"] == pytest.approx(float(np.median(each)), rel=0.02)
    low, high = energy["interval"]
    assert low < energy["microjoules"] < high
    assert 'name="energy_uj_measured"' in report.junit() and "predicted" not in report.junit()


def test_windows_are_as_long_as_the_device_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its line takes to carry the commands is not taken for the inference's time."""
    cycles = []
    run = DeviceClient.run

    def spied_run(client: DeviceClient) -> int:
        cycles.append(run(client))
        return cycles[-1]

    monkeypatch.setattr(DeviceClient, "run", spied_run)
    report = hil(folder, HilOptions(limit=1), transport=device_of(folder), monitor=Steady(), energy=QUICK)
    (energy,) = report.content["switches"][0]["energy"]
    needed = max(QUICK.inferences, math.ceil(1.02 * QUICK.seconds / (cycles[-1] / 1e9)))
    assert [window["inferences"] for window in energy["windows"]] == [needed] * 3


@pytest.mark.parametrize("error", [DeviceError, TinygenError])
def test_a_measurement_that_fails(folder: Path, error: type[TinygenError]) -> None:
    """It costs no result."""
    monitor = Steady(error("was unplugged", where="steady"))
    report = hil(folder, HilOptions(limit=2), transport=device_of(folder), monitor=monitor, energy=QUICK)
    assert not report.passed
    (failed,) = (one for one in report.content["checks"] if one["status"] == "failed")
    assert failed["name"] == "energy" and "steady: was unplugged" in failed["message"]
    (part,) = report.content["switches"]
    assert part["completed"] == 2 and part["energy"] == []


def test_an_interrupted_measurement(folder: Path) -> None:
    """As little."""
    monitor = Steady(KeyboardInterrupt())
    report = hil(folder, HilOptions(limit=2), transport=device_of(folder), monitor=monitor, energy=QUICK)
    (failed,) = (one for one in report.content["checks"] if one["status"] == "failed")
    assert (failed["name"], failed["message"]) == ("finished", "interrupted")
    (part,) = report.content["switches"]
    assert part["completed"] == 2 and part["energy"] == []


def test_emulated_boards_draw_nothing(folder: Path) -> None:
    with pytest.raises(TinygenError, match="what runs is emulated"):
        hil(folder, monitor=Steady())
