"""What MLPerf Tiny asks for, five windows of ten seconds, on every instrument's double with a clock 200 ppm fast."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hil.power.bench import Bench, Double
from tests.hil.power.joulescope_double import JoulescopeDouble, JoulescopeFaults
from tests.hil.power.lpm01a_double import Lpm01aDouble, Lpm01aFaults
from tests.hil.power.ppk2_double import Ppk2Double, Ppk2Faults
from tests.hil.power.waveform import runs_of_inferences
from tests.targets.tools import requires_package
from tinygen.hil.power.energy import EnergyOptions, measure_energy
from tinygen.hil.power.monitor import PowerMonitor

PPM = 200.0
Open = Callable[[pytest.MonkeyPatch, Bench], tuple[Double, PowerMonitor]]


def lpm01a(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> tuple[Double, PowerMonitor]:
    from tinygen.hil.power.lpm01a import Lpm01a

    double = Lpm01aDouble(bench.waveform, Lpm01aFaults(ppm=PPM))
    return double, Lpm01a(double.port, now=bench.now)


def ppk2(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> tuple[Double, PowerMonitor]:
    from ppk2_api import ppk2_api

    from tinygen.hil.power.ppk2 import Ppk2

    double = Ppk2Double(bench.waveform, Ppk2Faults(ppm=PPM))
    monkeypatch.setattr(ppk2_api.serial, "Serial", double)
    return double, Ppk2("/dev/ttyPPK2", now=bench.now)


def joulescope(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> tuple[Double, PowerMonitor]:
    from joulescope.v1 import driver

    from tinygen.hil.power.joulescope import Joulescope

    double = JoulescopeDouble(bench.waveform, JoulescopeFaults(ppm=PPM))
    monkeypatch.setattr(driver, "Driver", double)
    monkeypatch.setattr(driver.DriverWrapper, "__singleton__", None)
    return double, Joulescope(now=bench.now)


@pytest.mark.long
@pytest.mark.parametrize(
    "opened",
    [
        lpm01a,
        pytest.param(ppk2, marks=requires_package("ppk2_api")),
        pytest.param(joulescope, marks=requires_package("joulescope")),
    ],
)
def test_five_windows_of_ten_seconds(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(runs_of_inferences(5, 10.0, idle=0.003, level=0.030, first=1.5), step=0.1)
    bench.double, monitor = opened(monkeypatch, bench)
    options = EnergyOptions(idle_seconds=1.0, volts=3.3, pin=True)
    try:
        result = measure_energy(monitor, bench.run, options, bench.clock)
    finally:
        monitor.close()
    report = result.as_json()
    assert report["mlperf_tiny"] is True and report["lost_samples"] == 0
    for index, window in enumerate(result.windows):
        error = window.joules / bench.waveform.joules(index) - 1
        # The instrument's second is 200 ppm short: it counts more of them, or more energies of a millisecond.
        assert abs(error) < 2 * PPM * 1e-6
        assert abs(window.joules - bench.waveform.joules(index)) <= window.uncertainty
    print(
        f"{result.instrument}: median {100 * (result.median / (bench.waveform.joules(2) / 100) - 1):+.4f} %, "
        f"uncertainty {100 * result.uncertainty / result.median:.4f} %, {result.notes}"
    )
