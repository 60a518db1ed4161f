"""Instruments by name, the predicted source, and how a measurement ends when the device fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serial.tools import list_ports

from tests.hil.power.lpm01a_double import Lpm01aDouble
from tests.hil.power.waveform import runs_of_inferences
from tinygen.builds.predicted import time_and_energy
from tinygen.errors import BoardError, DeviceError, TinygenError
from tinygen.hil.power import (
    EnergyOptions,
    PowerMonitor,
    PredictedSource,
    Run,
    Trace,
    measure_energy,
    open_monitor,
    supply_warning,
)
from tinygen.hil.power.energy import Clock
from tinygen.hil.power.lpm01a import Lpm01a
from tinygen.targets.boards import load_board

BOARD = load_board("f746zg")


def test_an_lpm01a_is_opened_with_the_boards_voltage() -> None:
    double = Lpm01aDouble(runs_of_inferences(1, 0.5))
    monitor = open_monitor(f"lpm01a:{double.port}", load_board("l4r5zi"))
    assert isinstance(monitor, Lpm01a) and monitor.name == f"ST X-NUCLEO-LPM01A ({double.port})"
    assert "volt 1800m" in double.state.lines
    monitor.close()
    open_monitor(f"lpm01a:{double.port}", load_board("l4r5zi"), volts=3.0).close()  # type: ignore[union-attr]
    assert "volt 3000m" in double.state.lines
    double.close()


def test_the_supply_is_the_user_s_word() -> None:
    double = Lpm01aDouble(runs_of_inferences(1, 0.5))
    open_monitor(f"lpm01a:{double.port},volts=3.3", load_board("l4r5zi")).close()  # type: ignore[union-attr]
    assert "volt 3300m" in double.state.lines and "volt 1800m" not in double.state.lines
    double.close()


@pytest.mark.parametrize(
    ("board", "spec", "warned"),
    [
        ("l4r5zi", "ppk2:auto", True),
        ("u575zi-q", "lpm01a:auto", True),
        ("l4r5zi", "lpm01a:auto,volts=3.3", False),
        ("f746zg", "ppk2:auto", False),
        ("f746zg", "ppk2:auto,volts=1.8,D1", True),
        ("l4r5zi", "joulescope", False),  # it supplies nothing
        ("l4r5zi", "ppk2:auto,ampere", False),
        ("l4r5zi", "predicted", False),
    ],
)
def test_a_supply_far_from_the_line_s_level_is_warned_of(board: str, spec: str, warned: bool) -> None:
    warning = supply_warning(spec, load_board(board))
    assert bool(warning) is warned
    if warned:
        assert "1.8 V" in warning and "level shifters" in warning and ",volts=3.3" in warning


@pytest.mark.parametrize("text", ["", "x", "0", "-3", "nan", "3300"])
def test_what_is_no_voltage(text: str) -> None:
    with pytest.raises(TinygenError, match=r"is no supply in volts\nWrite volts=3\.3"):
        open_monitor(f"ppk2:auto,volts={text}", BOARD)


@pytest.mark.parametrize(
    "spec", ["", "ppk3", "ppk2:auto,ampere,D1,D2", "ppk2:auto,E1", "lpm01a:/dev/ttyACM1,ampere", "predicted:f746zg"]
)
def test_what_is_no_instrument(spec: str) -> None:
    with pytest.raises(TinygenError, match=r"monitor: there is no instrument '.*'\nOne of: lpm01a:PORT"):
        open_monitor(spec, BOARD)


def test_a_board_that_draws_too_much_for_an_lpm01a() -> None:
    with pytest.raises(TinygenError, match=r"up to 50 mA, and NUCLEO-F746ZG .* draws about 102 mA\nUse a PPK2"):
        open_monitor("lpm01a:auto", BOARD)


def test_no_lpm01a_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_ports, "comports", list)
    with pytest.raises(DeviceError, match="lpm01a: 0 instruments with the LPM01A's USB id 0483:5740"):
        open_monitor("lpm01a:auto", load_board("l4r5zi"))


def test_predicted_energy_is_that_of_the_board_file() -> None:
    source = open_monitor("predicted", BOARD)
    assert isinstance(source, PredictedSource)
    result = source.energy([2_160_000, 2_160_216, 2_161_000])
    report = result.as_json()
    assert report["source"] == "predicted" and report["windows_from"] == "predicted cycles"
    wanted = time_and_energy(2_160_216, BOARD)
    assert report["microjoules_per_inference"] == pytest.approx(wanted["microjoules_predicted"], rel=1e-6)
    low, high = wanted["microjoules_interval"]
    assert report["microjoules_uncertainty"] == pytest.approx((high - low) / 2, rel=1e-3)
    assert report["mlperf_tiny"] is False and report["idle_milliamperes"] is None
    assert "nothing was measured" in report["notes"][0]


def test_a_board_without_run_current_has_no_prediction() -> None:
    with pytest.raises(BoardError, match="f746zg: has no run current"):
        open_monitor("predicted", replace(BOARD, run_current=None, path=Path("x.yaml")))


class _Recorder:
    """An instrument that tells what is done with it."""

    name = "recorder"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> Trace:
        self.calls.append("stop")
        return Trace(np.arange(0, 20, 0.01), np.full(2000, 0.02), 3.3, (), 0.0)

    def close(self) -> None:
        self.calls.append("close")


def test_the_instrument_is_stopped_when_the_device_fails() -> None:
    monitor = _Recorder()
    checked: PowerMonitor = monitor

    def run(index: int, seconds: float) -> Run:
        raise DeviceError("does not answer")

    with pytest.raises(DeviceError, match=r"^does not answer"):
        measure_energy(checked, run, EnergyOptions(), Clock(lambda: 0.0, lambda seconds: None))
    assert monitor.calls == ["start", "stop"]


def test_every_run_is_asked_for_by_its_number_and_length() -> None:
    asked = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    def run(index: int, seconds: float) -> Run:
        asked.append((index, seconds))
        sleep(2.0)
        return Run(10, clock[0] - 2.0, clock[0])

    options = EnergyOptions(runs=3, seconds=1.5, idle_seconds=1.0)
    result = measure_energy(_Recorder(), run, options, Clock(lambda: clock[0], sleep))
    assert asked == [(0, 1.5), (1, 1.5), (2, 1.5)]
    assert result.median == pytest.approx(2.0 * 3.3 * 0.02 / 10)
    assert result.net_of_idle == pytest.approx(0.0, abs=1e-9)
