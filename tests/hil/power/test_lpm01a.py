"""The LPM01A's driver against a double that speaks the documented protocol, its faults included."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.hil.power.bench import Bench
from tests.hil.power.lpm01a_double import Lpm01aDouble, Lpm01aFaults
from tests.hil.power.waveform import Waveform, runs_of_inferences
from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.energy import EnergyOptions, measure_energy
from tinygen.hil.power.lpm01a import Lpm01a
from tinygen.hil.power.lpm01a_stream import AsciiDecoder, BinaryDecoder, place
from tinygen.hil.power.result import MESSAGES, PIN, EnergyResult

SHORT = EnergyOptions(runs=3, seconds=0.8, idle_seconds=0.5)
Measure = Callable[..., tuple[EnergyResult, Waveform]]


@pytest.fixture
def measure() -> Iterator[Measure]:
    doubles = []

    def run(
        faults: Lpm01aFaults | None = None, options: EnergyOptions = SHORT, **settings: object
    ) -> tuple[EnergyResult, Waveform]:
        # Below the 50 mA that the instrument measures.
        waveform = runs_of_inferences(3, 0.8, idle=0.003, level=0.020, first=0.7)
        bench = Bench(waveform, step=0.05)
        bench.double = double = Lpm01aDouble(waveform, faults)
        doubles.append(double)
        monitor = Lpm01a(double.port, now=bench.now, **settings)  # type: ignore[arg-type]
        try:
            return measure_energy(monitor, bench.run, options, bench.clock), waveform
        finally:
            monitor.close()

    yield run
    for double in doubles:
        double.close()


def check(result: EnergyResult, waveform: Waveform, bound: float) -> None:
    """Every window's joules are the analytic integral's, within `bound` and within the stated uncertainty."""
    assert len(result.windows) == 3
    for index, window in enumerate(result.windows):
        assert window.joules == pytest.approx(waveform.joules(index), rel=bound)
        assert abs(window.joules - waveform.joules(index)) <= window.uncertainty


def test_energies_of_milliseconds_add_up_to_the_analytic_integral(measure: Measure) -> None:
    result, waveform = measure()
    # An edge is known to a sample: 2 ms of 0.8 s, at the difference of busy and idle current, are 0.2 %.
    check(result, waveform, 2e-3)
    assert result.windows_from == PIN
    assert result.sample_rate == pytest.approx(1000.0)
    assert result.idle is not None and result.idle.amperes == pytest.approx(0.003, rel=1e-3)
    assert [window.lost for window in result.windows] == [0, 0, 0]


def test_currents_as_text_at_5_khz(measure: Measure) -> None:
    result, waveform = measure(hertz=5_000, energy=False)
    check(result, waveform, 1e-3)
    assert result.sample_rate == pytest.approx(5000.0)


def test_the_compact_format_at_20_khz(measure: Measure) -> None:
    result, waveform = measure(hertz=20_000, energy=False, binary=True)
    check(result, waveform, 0.03)  # windows are from messages, 20 ms at each end
    assert result.windows_from == MESSAGES
    assert any("compact format shows no edges" in note for note in result.notes)


def test_a_clock_200_ppm_fast(measure: Measure) -> None:
    result, waveform = measure(Lpm01aFaults(ppm=200.0))
    check(result, waveform, 3e-3)


def test_what_the_driver_asks_for_is_what_mlcommons_runner_asks_for() -> None:
    double = Lpm01aDouble(runs_of_inferences(1, 0.5))
    Lpm01a(double.port, volts=1.8).close()
    assert set(double.state.lines) >= {
        "htc",
        "pwr off",
        "acqtime inf",
        "trigdelay 0",
        "trigsrc sw",
        "eventsrc d7 fal",
        "output energy",
        "format ascii_dec",
        "freq 1000",
        "volt 1800m",
        "pwr on nostatus",
        "hrc",
    }
    assert double.state.lines[-2:] == ["pwr off", "hrc"]
    double.close()


def test_dropped_samples_are_refused_by_their_number(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"LPM01A.*: lost 7 samples in window 1"):
        measure(Lpm01aFaults(dropped=(1960, 7)))  # at 1.96 s: the last of their block


def test_a_damaged_line_costs_its_sample_only(measure: Measure) -> None:
    options = EnergyOptions(runs=3, seconds=0.8, idle_seconds=0.5, max_lost_share=0.01)
    result, waveform = measure(Lpm01aFaults(cut=(900, 11)), options)
    check(result, waveform, 3e-3)
    assert [window.lost for window in result.windows] == [2, 0, 0]


def test_garbage_between_samples_is_not_taken_for_samples(measure: Measure) -> None:
    result, waveform = measure(Lpm01aFaults(garbage=(900, b"\x80\xfeQ\r\n99\r\n")))
    check(result, waveform, 2e-3)
    assert [window.lost for window in result.windows] == [0, 0, 0]


def test_a_lost_byte_of_the_compact_format_costs_its_block(measure: Measure) -> None:
    with pytest.raises(DeviceError, match="lost 1000 samples in window 1"):
        measure(Lpm01aFaults(cut=(41_500, 1)), hertz=20_000, energy=False, binary=True)


def test_unplugging_in_the_middle(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"LPM01A \(/dev/pts/\d+\): went away"):
        measure(Lpm01aFaults(unplugged=1.2))


@pytest.mark.parametrize("binary", [False, True])
def test_overcurrent(measure: Measure, binary: bool) -> None:
    with pytest.raises(DeviceError, match=r"reports '.*overcurrent'.*\n.*50 mA"):
        measure(Lpm01aFaults(overcurrent=1.2), binary=binary)


def test_a_full_buffer_ends_the_acquisition(measure: Measure) -> None:
    with pytest.raises(DeviceError, match=r"ended the acquisition by itself after 1\d\d\d samples; its buffer was 3 %"):
        measure(Lpm01aFaults(overflow=1.2))


def test_firmware_without_events_falls_back_to_messages(measure: Measure) -> None:
    result, waveform = measure(Lpm01aFaults(events=False))
    check(result, waveform, 0.03)
    assert result.windows_from == MESSAGES
    assert any("no events (eventsrc): update it" in note for note in result.notes)


def test_a_lost_event_is_an_odd_number_of_edges(measure: Measure) -> None:
    with pytest.raises(DeviceError, match="saw 1 falling edge of the timestamp pin in run 1, not two"):
        measure(Lpm01aFaults(lost_event=3))


def test_another_voltage_than_asked_for() -> None:
    double = Lpm01aDouble(runs_of_inferences(1, 0.5), Lpm01aFaults(volts_error=-0.2))
    with pytest.raises(DeviceError, match=r"supplies 3\.100 V, not 3\.300 V"):
        Lpm01a(double.port)
    double.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"volts": 5.0}, r"supplies 1\.8 to 3\.3 V, not 5 V"),
        ({"hertz": 3000}, "does not sample at 3000 Hz"),
        ({"hertz": 10_000}, "text carries 5000 samples per second, not 10000"),
    ],
)
def test_settings_that_it_does_not_have(settings: dict[str, float], message: str) -> None:
    with pytest.raises(TinygenError, match=message):
        Lpm01a("/dev/null", **settings)  # type: ignore[arg-type]


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="port cannot be opened"):
        Lpm01a("/dev/tinygen-no-such-port")


def test_the_manuals_examples_of_samples() -> None:
    text = AsciiDecoder()
    text.feed(b"\r\nTimeStamp: 000s 000ms, buff 00%\r\n6409-07\r\n")
    compact = BinaryDecoder()
    # Table 47: a timestamp, then measurement data 1 and 2; 52A0 and 3145 are the examples of 4.4.2.
    compact.feed(bytes.fromhex("0d0a f0f3 00000000 00 ffff 52a0 3145 3ab8 f0f4 ffff"))
    assert text.stream.values.tolist() == pytest.approx([640.9e-6])
    assert compact.stream.values.tolist() == pytest.approx([640.9e-6, 79.35e-3, 0xAB8 / 16**3], rel=1e-4)
    assert compact.stream.ended and compact.stream.stamps == [(0, 0)]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_compact_format_in_pieces_of_any_size(size: int) -> None:
    stream = bytes.fromhex("f0f3 00000000 00 ffff") + b"\x52\xa0" * 1000
    stream += bytes.fromhex("f0f3 000003e8 05 ffff 3145 f0f1") + b"voltage drop\r\n\xff\xff\x31\x45\xf0\xf4\xff\xff"
    whole, pieces = BinaryDecoder(), BinaryDecoder()
    whole.feed(stream)
    for begin in range(0, len(stream), size):
        pieces.feed(stream[begin : begin + size])
    assert pieces.stream == whole.stream
    assert len(whole.stream.values) == 1002 and whole.stream.errors == ["voltage drop"] and whole.stream.load == 5


def test_only_the_beginning_of_an_event_is_known() -> None:
    """As MLCommons' runner reads it: what firmware may add behind it does no harm."""
    text = AsciiDecoder()
    text.feed(b"TimeStamp: 000s 000ms, buff 00%\r\n6409-07\r\nevent 01 fal\r\n6409-07\r\nevent 02 ris, 12 us\r\n")
    assert text.stream.events == [(1, 1), (2, 2)] and not text.stream.damaged


def test_seconds_of_the_text_begin_anew_after_999() -> None:
    text = AsciiDecoder()
    for second in (998, 999, 0, 1):
        text.feed(f"TimeStamp: {second:03d}s 000ms, buff 00%\r\n".encode() + b"6409-07\r\n" * 1000)
    placed = place(text.stream, 1000.0, aligned=True)
    assert len(placed.values) == 1002 * 1000
    assert np.count_nonzero(~np.isnan(placed.values)) == 4000
