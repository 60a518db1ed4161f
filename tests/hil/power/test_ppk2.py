"""The PPK2's driver, and the package under it, against a double that speaks the instrument's bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from tests.hil.power.bench import Bench
from tests.hil.power.ppk2_double import Ppk2Double, Ppk2Faults
from tests.hil.power.waveform import Piece, Waveform, runs_of_inferences
from tests.targets.tools import requires_package
from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.energy import EnergyOptions, measure_energy
from tinygen.hil.power.ppk2 import Ppk2
from tinygen.hil.power.ppk2_words import find_runs
from tinygen.hil.power.result import MESSAGES, PIN, EnergyResult

SHORT = EnergyOptions(runs=3, seconds=0.4, idle_seconds=0.5)
PORT = "/dev/ttyPPK2"
Measure = Callable[..., tuple[EnergyResult, Waveform]]
Install = Callable[[Ppk2Double], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a double in the place of the package's serial port."""

    def put(double: Ppk2Double) -> None:
        from ppk2_api import ppk2_api

        monkeypatch.setattr(ppk2_api.serial, "Serial", double)
        monkeypatch.setattr(ppk2_api.PPK2_API, "list_devices", staticmethod(lambda: [PORT]))

    return put


@pytest.fixture
def measure(install: Install) -> Measure:
    def run(
        faults: Ppk2Faults | None = None,
        waveform: Waveform | None = None,
        options: EnergyOptions = SHORT,
        **settings: object,
    ) -> tuple[EnergyResult, Waveform]:
        waveform = waveform or runs_of_inferences(3, 0.4, idle=0.003, level=0.040, first=0.7)
        bench = Bench(waveform, step=0.05)
        bench.double = double = Ppk2Double(waveform, faults)
        install(double)
        monitor = Ppk2("auto", now=bench.now, **settings)  # type: ignore[arg-type]
        try:
            return measure_energy(monitor, bench.run, options, bench.clock), waveform
        finally:
            monitor.close()
            assert double.closed and (double.gone or double.commands[-1] == b"\x0c\x00")

    return run


def check(result: EnergyResult, waveform: Waveform, bound: float) -> None:
    """The stated uncertainty is without the instrument's own accuracy, and so without its range switches."""
    for index, window in enumerate(result.windows):
        assert window.joules == pytest.approx(waveform.joules(index), rel=bound)


@requires_package("ppk2_api")
def test_the_integral_is_the_analytic_one(measure: Measure) -> None:
    result, waveform = measure()
    check(result, waveform, 5e-4)
    assert result.windows_from == PIN and result.sample_rate == pytest.approx(100_000)
    assert result.idle is not None and result.idle.amperes == pytest.approx(0.003, rel=2e-3)
    assert [window.lost for window in result.windows] == [0, 0, 0]
    assert [window.seconds for window in result.windows] == pytest.approx([0.4] * 3, abs=2e-5)


@requires_package("ppk2_api")
def test_the_coarsest_range(measure: Measure) -> None:
    result, waveform = measure(waveform=runs_of_inferences(3, 0.4, idle=0.070, level=0.200, first=0.7))
    check(result, waveform, 1e-3)  # a step of its converter is 0.8 mA


@requires_package("ppk2_api")
def test_currents_about_zero_keep_their_sign(measure: Measure) -> None:
    """Else noise about nothing would be a current, and a board that feeds back would draw one."""
    options = EnergyOptions(runs=1, seconds=0.1, idle_seconds=0.5)
    result, _ = measure(None, runs_of_inferences(1, 0.1, idle=-1e-6, level=0.040, first=0.7), options)
    assert result.idle is not None and result.idle.amperes == pytest.approx(-1e-6, abs=2e-8)


@requires_package("ppk2_api")
def test_currents_beyond_its_range_are_said(measure: Measure) -> None:
    result, _ = measure(waveform=runs_of_inferences(3, 0.4, idle=0.070, level=1.2, first=0.7))
    assert any("samples are above 1 A, which the PPK2 is not made for" in note for note in result.notes)


@requires_package("ppk2_api")
def test_range_switches_leave_little_behind(measure: Measure) -> None:
    """A current that crosses from one range to the next 400 times a second, each time with a transient of 50 %."""
    pieces = tuple(Piece(0.7 + 0.65 * i, 1.1 + 0.65 * i, 0.005, ripple=0.004, hz=200.0) for i in range(3))
    result, waveform = measure(waveform=Waveform(0.003, pieces))
    check(result, waveform, 5e-3)


@requires_package("ppk2_api")
def test_a_clock_200_ppm_fast_is_found_and_within_the_uncertainty(measure: Measure) -> None:
    result, waveform = measure(Ppk2Faults(ppm=200.0))
    check(result, waveform, 1e-3)
    assert any("-200 ppm" in note for note in result.notes)


@requires_package("ppk2_api")
def test_few_lost_words_are_counted(measure: Measure) -> None:
    result, waveform = measure(Ppk2Faults(dropped=(100_000, 30)))
    check(result, waveform, 1e-3)
    assert [window.lost for window in result.windows] == [30, 0, 0]
    damaged = result.windows[0]
    assert damaged.uncertainty > 5 * result.windows[1].uncertainty
    assert abs(damaged.joules - waveform.joules(0)) <= damaged.uncertainty


@requires_package("ppk2_api")
def test_many_lost_words_are_refused(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"Nordic PPK2 \(/dev/ttyPPK2\): lost 60 samples in window 0"):
        measure(Ppk2Faults(dropped=(100_000, 60)))


@requires_package("ppk2_api")
def test_multiples_of_64_lost_words_show_in_the_clocks(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"s of samples in .* some are lost"):
        measure(Ppk2Faults(dropped=(100_000, 64 * 300)))


@requires_package("ppk2_api")
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_lost_bytes_do_not_shift_what_follows(measure: Measure, size: int) -> None:
    result, waveform = measure(Ppk2Faults(cut=(100_000, size)))
    check(result, waveform, 1e-3)
    assert [window.lost for window in result.windows] == [1 + (size > 4), 0, 0]


@requires_package("ppk2_api")
def test_garbage_is_left_out(measure: Measure) -> None:
    noise = np.random.default_rng(2).bytes(333)
    result, waveform = measure(Ppk2Faults(garbage=(100_000, noise)))
    check(result, waveform, 1e-3)
    assert sum(window.lost for window in result.windows) == 0


@requires_package("ppk2_api")
def test_unplugging_in_the_middle(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"PPK2 \(/dev/ttyPPK2\): went away \(.*Input/output error"):
        measure(Ppk2Faults(unplugged=1.2))


@requires_package("ppk2_api")
def test_a_pin_that_is_not_wired(measure: Measure) -> None:
    result, _ = measure(Ppk2Faults(pin=None))
    assert result.windows_from == MESSAGES
    with pytest.raises(DeviceError, match="no falling edge of the timestamp pin"):
        measure(Ppk2Faults(pin=None), options=EnergyOptions(runs=3, seconds=0.4, idle_seconds=0.5, pin=True))


@requires_package("ppk2_api")
def test_another_channel_and_the_ampere_meter(measure: Measure) -> None:
    result, waveform = measure(Ppk2Faults(pin=5), pin=5, ampere=True)
    check(result, waveform, 5e-4)
    assert result.windows_from == PIN
    assert result.instrument == "Nordic PPK2 (/dev/ttyPPK2, as ampere meter)"


@requires_package("ppk2_api")
def test_the_bytes_that_the_instrument_gets(install: Install) -> None:
    double = Ppk2Double(runs_of_inferences(1, 0.5))
    install(double)
    Ppk2("auto", volts=3.3).close()
    # Stop, calibration, source meter, 3.3 V (32 + 2500 above 800 mV at 3, 32), power on, power off.
    assert double.commands == [b"\x07", b"\x19", b"\x11\x02", b"\x0d\x0c\xe4", b"\x0c\x01", b"\x0c\x00"]


@requires_package("ppk2_api")
def test_no_instrument_and_a_silent_one(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(Ppk2Double(runs_of_inferences(1, 0.5), Ppk2Faults(silent=True)))
    with pytest.raises(DeviceError, match="/dev/ttyPPK2: does not answer as a PPK2"):
        Ppk2("auto")
    with pytest.raises(DeviceError, match="/dev/ttyACM7: the port cannot be opened"):
        Ppk2("/dev/ttyACM7")
    from ppk2_api.ppk2_api import PPK2_API

    monkeypatch.setattr(PPK2_API, "list_devices", staticmethod(list))
    with pytest.raises(DeviceError, match="no PPK2 is connected"):
        Ppk2("auto")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ppk2_api.ppk2_api", None)
    with pytest.raises(TinygenError, match=r"ppk2-api is not installed\n.*tinygen\[power\]"):
        Ppk2("auto")


@pytest.mark.parametrize(("settings", "message"), [({"volts": 5.5}, "800 to 5000 mV, not 5500"), ({"pin": 8}, "D8")])
def test_settings_that_it_does_not_have(settings: dict[str, float], message: str) -> None:
    with pytest.raises(TinygenError, match=message):
        Ppk2("auto", **settings)  # type: ignore[arg-type]


def words(numbers: np.ndarray) -> bytes:
    rng = np.random.default_rng(3)
    return (rng.integers(0, 1 << 17, len(numbers)) | (numbers & 63) << 18 | 1 << 24).astype("<u4").tobytes()


def test_gaps_and_their_sizes_are_found() -> None:
    numbers = np.r_[0:500, 510:600, 663:1000]
    data = words(numbers)
    data = data[: 4 * 700] + b"\x12\x34\x56" + data[4 * 700 :]
    runs = find_runs(data)
    assert [(run.sample, run.words) for run in runs] == [(0, 500), (510, 90), (663, 110), (773, 227)]
    assert find_runs(data[2:])[0].sample == 0 and find_runs(data[2:])[0].words == 499
    assert find_runs(b"") == [] and find_runs(bytes(1000)) == []
