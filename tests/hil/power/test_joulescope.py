"""The Joulescope's driver, and the package under it, against a double of the package's C driver."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.hil.power.bench import Bench
from tests.hil.power.joulescope_double import JoulescopeDouble, JoulescopeFaults
from tests.hil.power.waveform import Waveform, runs_of_inferences
from tests.targets.tools import requires_package
from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.energy import EnergyOptions, measure_energy
from tinygen.hil.power.joulescope import Joulescope
from tinygen.hil.power.result import MESSAGES, PIN, EnergyResult

SHORT = EnergyOptions(runs=3, seconds=0.4, idle_seconds=0.5, volts=3.3)
Measure = Callable[..., tuple[EnergyResult, Waveform]]
Install = Callable[[JoulescopeDouble], None]
pytestmark = requires_package("joulescope")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a double in the place of the package's C driver."""

    def put(double: JoulescopeDouble) -> None:
        from joulescope.v1 import driver

        monkeypatch.setattr(driver, "Driver", double)
        monkeypatch.setattr(driver.DriverWrapper, "__singleton__", None)

    return put


@pytest.fixture
def measure(install: Install) -> Measure:
    def run(
        faults: JoulescopeFaults | None = None, options: EnergyOptions = SHORT, model: str = "js220"
    ) -> tuple[EnergyResult, Waveform]:
        waveform = runs_of_inferences(3, 0.4, first=0.7)
        bench = Bench(waveform, step=0.05)
        bench.double = double = JoulescopeDouble(waveform, faults, model)
        install(double)
        monitor = Joulescope(now=bench.now)
        try:
            return measure_energy(monitor, bench.run, options, bench.clock), waveform
        finally:
            monitor.close()

    return run


def check(result: EnergyResult, waveform: Waveform, bound: float) -> None:
    assert len(result.windows) == 3
    for index, window in enumerate(result.windows):
        assert window.joules == pytest.approx(waveform.joules(index), rel=bound)
        assert abs(window.joules - waveform.joules(index)) <= window.uncertainty


@pytest.mark.parametrize("model", ["js110", "js220"])
def test_the_integral_is_the_analytic_one(measure: Measure, model: str) -> None:
    result, waveform = measure(model=model)
    check(result, waveform, 2e-4)
    assert result.windows_from == PIN and result.sample_rate == pytest.approx(10_000)
    assert result.idle is not None and result.idle.amperes == pytest.approx(0.010, rel=1e-4)
    assert [window.seconds for window in result.windows] == pytest.approx([0.4] * 3, abs=3e-6)
    assert result.instrument == f"Joulescope {model.upper()}-002550"


def test_a_clock_200_ppm_fast(measure: Measure) -> None:
    result, waveform = measure(JoulescopeFaults(ppm=200.0))
    check(result, waveform, 5e-4)
    assert any("-200 ppm" in note for note in result.notes)


def test_transients_of_range_switches_are_energy_that_the_board_did_not_draw(measure: Measure) -> None:
    """Two samples of 100 mA too much at either end of a window: 200 nC of 32 mC."""
    result, waveform = measure(JoulescopeFaults(spike=0.1))
    check(result, waveform, 3e-4)


def test_few_lost_samples_are_counted(measure: Measure) -> None:
    # Their means cannot be trusted: whole intervals of 100 us are lost.
    result, waveform = measure(
        JoulescopeFaults(lost=(1_000_000, 160)), EnergyOptions(3, 0.4, 10, 0.5, None, None, 0.01)
    )
    check(result, waveform, 1e-3)
    assert [window.lost for window in result.windows] == [2, 0, 0]


def test_many_lost_samples_are_refused(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"Joulescope JS220-002550: lost 80 samples in window 0"):
        measure(JoulescopeFaults(lost=(1_000_000, 8000)))


def test_unplugging_in_the_middle(measure: Measure) -> None:
    with pytest.raises(DeviceError, match="Joulescope JS220-002550: went away"):
        measure(JoulescopeFaults(unplugged=1.2))


def test_another_voltage_than_the_boards(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"supplied the board with 2\.900 V in window 0, not with 3\.300 V"):
        measure(JoulescopeFaults(volts_error=-0.4))


def test_a_pin_that_is_not_wired(measure: Measure) -> None:
    result, _ = measure(JoulescopeFaults(wired=False))
    assert result.windows_from == MESSAGES


def test_none_several_or_one_that_does_not_open(install: Install) -> None:
    waveform = runs_of_inferences(1, 0.5)
    install(JoulescopeDouble(waveform, JoulescopeFaults(devices=0)))
    with pytest.raises(DeviceError, match=r"0 Joulescopes are connected\nConnected: none"):
        Joulescope()
    install(JoulescopeDouble(waveform, JoulescopeFaults(devices=2)))
    with pytest.raises(DeviceError, match=r"2 Joulescopes are connected\nConnected: JS220-002550, JS220-002551"):
        Joulescope()
    Joulescope("002551").close()
    install(JoulescopeDouble(waveform, JoulescopeFaults(refuses=True)))
    with pytest.raises(DeviceError, match=r"JS220-002550: cannot be opened \(jsdrv_open timed out"):
        Joulescope()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joulescope", None)
    with pytest.raises(TinygenError, match=r"joulescope is not installed\n.*tinygen\[power\]"):
        Joulescope()
