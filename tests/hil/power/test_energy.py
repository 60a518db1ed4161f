"""Integration, windows, clocks and what is refused, on traces made from currents with a known integral."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.hil.power.waveform import Piece, Waveform, host_runs, runs_of_inferences
from tinygen.errors import DeviceError
from tinygen.hil.power.clock import check_clock, fit_clock
from tinygen.hil.power.energy import EnergyOptions, energy_of, energy_of_runs
from tinygen.hil.power.integral import integrate
from tinygen.hil.power.monitor import Edge, Trace
from tinygen.hil.power.result import MESSAGES, PIN
from tinygen.hil.power.windows import Run, Window, falling_edges, windows_from_edges

SHORT = EnergyOptions(runs=5, seconds=0.5, inferences=10)


def trace_of(waveform: Waveform, rate: float, seconds: float, *, ppm: float = 0.0, offset: float = 1000.0) -> Trace:
    """As an ideal instrument sees it whose clock runs `ppm` fast."""
    own = 1 + ppm * 1e-6
    times = np.arange(round(seconds * rate)) / rate
    edges = tuple(Edge(fall * own, False) for fall in waveform.falls())
    return Trace(
        times,
        waveform.current(times / own),
        waveform.volts,
        edges,
        host_start=offset,
        host_rate=1 / own,
        edge_uncertainty=1 / rate,
    )


def drop(trace: Trace, first: float, count: int) -> Trace:
    amperes = trace.amperes.copy()
    begin = int(np.searchsorted(trace.seconds, first))
    amperes[begin : begin + count] = np.nan
    return replace(trace, amperes=amperes)


@pytest.fixture(scope="module")
def waveform() -> Waveform:
    return runs_of_inferences(5, 0.5)


@pytest.mark.parametrize("rate", [10_000.0, 100_000.0])
def test_the_integral_is_the_analytic_one(waveform: Waveform, rate: float) -> None:
    trace = trace_of(waveform, rate, 5.5)
    result = energy_of_runs(trace, host_runs(waveform, 100, offset=1000.0), SHORT, name="ideal", idle=(1000.0, 1001.0))
    for index, window in enumerate(result.windows):
        assert window.joules == pytest.approx(waveform.joules(index), rel=1e-3)
        assert abs(window.joules - waveform.joules(index)) <= window.uncertainty
    assert result.median == pytest.approx(waveform.joules(2) / 100, rel=1e-3)
    assert result.spread == pytest.approx((waveform.joules(4) - waveform.joules(0)) / 100, rel=2e-3)
    assert result.windows_from == PIN
    assert result.sample_rate == pytest.approx(rate)
    assert result.idle is not None and result.idle.amperes == pytest.approx(0.010)
    net = (waveform.joules(2) - 0.5 * 3.3 * 0.010) / 100
    assert result.net_of_idle == pytest.approx(net, rel=1e-3)


def test_a_window_between_samples_takes_part_of_a_trapezoid() -> None:
    times = np.arange(11) * 0.1
    trace = Trace(times, times * 2, 2.0, (), 0.0)  # p = 4 t: the integral from a to b is 2 (b^2 - a^2)
    part = integrate(trace, 0.123, 0.877)
    assert part.joules == pytest.approx(2 * (0.877**2 - 0.123**2), rel=1e-12)
    assert part.mean_amperes == pytest.approx(1.0, rel=1e-12)
    inside_one_interval = integrate(trace, 0.41, 0.43)
    assert inside_one_interval.joules == pytest.approx(2 * (0.43**2 - 0.41**2), rel=1e-9)


def test_both_ends_of_a_window_may_be_off() -> None:
    """By its own uncertainty, and by the half of a sample in which the power is not known."""
    trace = Trace(np.arange(3001) * 0.001, np.full(3001, 0.5), 2.0, (), 0.0)
    found = energy_of(trace, [Window(1.0, 2.0, 10, 0.1)]).windows[0]
    assert found.uncertainty == pytest.approx(2 * 0.1005 * 1.0)
    longest = energy_of(trace, [Window(0.9, 2.1, 10, 0.0)]).windows[0]
    assert longest.joules - found.joules <= found.uncertainty


def test_volts_that_change_are_multiplied_sample_by_sample() -> None:
    times = np.linspace(0, 1, 10_001)
    trace = Trace(times, 1 + times, 3 - times, (), 0.0)  # (1 + t)(3 - t) from 0 to 1: 3 + 1 - 1/3
    assert integrate(trace, 0.0, 1.0).joules == pytest.approx(11 / 3, rel=1e-8)


def test_lost_samples_are_counted_and_few_of_them_widen_the_uncertainty(waveform: Waveform) -> None:
    trace = drop(trace_of(waveform, 100_000.0, 5.5), waveform.pieces[1].start + 0.2, 40)
    whole = energy_of_runs(trace_of(waveform, 100_000.0, 5.5), host_runs(waveform, 100, offset=1000.0), SHORT, name="i")
    result = energy_of_runs(trace, host_runs(waveform, 100, offset=1000.0), SHORT, name="ideal")
    assert [window.lost for window in result.windows] == [0, 40, 0, 0, 0]
    damaged = result.windows[1]
    assert damaged.uncertainty > whole.windows[1].uncertainty
    assert abs(damaged.joules - waveform.joules(1)) <= damaged.uncertainty


def test_more_lost_samples_than_allowed_are_refused(waveform: Waveform) -> None:
    trace = drop(trace_of(waveform, 10_000.0, 5.5), waveform.pieces[1].start + 0.2, 10)
    with pytest.raises(DeviceError, match=r"ideal: lost 10 samples in window 1, 0\.2"):
        energy_of_runs(trace, host_runs(waveform, 100, offset=1000.0), SHORT, name="ideal")


def test_samples_that_are_simply_not_there_are_lost_too(waveform: Waveform) -> None:
    trace = trace_of(waveform, 10_000.0, 5.5)
    start = int(np.searchsorted(trace.seconds, waveform.pieces[2].start + 0.1))
    keep = np.r_[0:start, start + 25 : len(trace.seconds)]
    holed = replace(trace, seconds=trace.seconds[keep], amperes=trace.amperes[keep])
    with pytest.raises(DeviceError, match="lost 25 samples in window 2"):
        energy_of_runs(holed, host_runs(waveform, 100, offset=1000.0), SHORT, name="ideal")


def test_message_times_find_the_windows_where_there_is_no_pin(waveform: Waveform) -> None:
    trace = replace(trace_of(waveform, 10_000.0, 5.5), edges=(), host_uncertainty=0.001)
    result = energy_of_runs(trace, host_runs(waveform, 100, offset=1000.0, latency=0.004), SHORT, name="ideal")
    assert result.windows_from == MESSAGES
    assert any("message" in note for note in result.notes)
    for index, window in enumerate(result.windows):
        assert abs(window.joules - waveform.joules(index)) <= window.uncertainty
        assert window.uncertainty < 0.15 * window.joules  # 21 ms at both ends of half a second


def test_a_clock_200_ppm_fast_is_within_the_uncertainty_and_said(waveform: Waveform) -> None:
    trace = trace_of(waveform, 100_000.0, 5.5, ppm=200.0)
    result = energy_of_runs(trace, host_runs(waveform, 100, offset=1000.0), SHORT, name="ideal")
    for index, window in enumerate(result.windows):
        assert window.joules == pytest.approx(waveform.joules(index) * 1.0002, rel=1e-4)
        assert abs(window.joules - waveform.joules(index)) <= window.uncertainty
    assert any("-200 ppm" in note for note in result.notes)


def test_the_clock_is_found_under_late_arrivals() -> None:
    rng = np.random.default_rng(0)
    own = np.arange(1, 2001) * 0.02
    host = 500.0 + own * (1 - 200e-6) + 0.0005 + rng.exponential(0.004, len(own))
    fit = fit_clock(own, host)
    assert fit.rate == pytest.approx(1 - 200e-6, abs=30e-6)
    assert fit.start == pytest.approx(500.0005, abs=2e-3)
    assert np.all(host - fit.start - fit.rate * own > -1e-9)
    assert 0.001 < fit.uncertainty < 0.01


def test_arrivals_of_less_than_two_seconds_say_nothing_about_skew() -> None:
    own = np.arange(1, 50) * 0.02
    fit = fit_clock(own, 7.0 + own * 1.01)
    assert fit.rate == 1.0
    assert fit.start == pytest.approx(7.0, abs=1e-3)


def test_a_clock_that_lags_means_lost_samples(waveform: Waveform) -> None:
    trace = replace(trace_of(waveform, 10_000.0, 5.5), host_rate=1.02)
    with pytest.raises(DeviceError, match=r"5\.500 s of samples in 5\.610 s"):
        check_clock(trace, "ideal")


def test_a_pin_that_is_not_wired_is_said(waveform: Waveform) -> None:
    trace = replace(trace_of(waveform, 10_000.0, 5.5), edges=())
    with pytest.raises(DeviceError, match=r"no falling edge.*\n.*Wire the board's timestamp pin"):
        energy_of_runs(trace, host_runs(waveform, 100, offset=1000.0), replace(SHORT, pin=True), name="ideal")


def test_an_odd_number_of_edges_is_refused_unless_the_run_is_plain(waveform: Waveform) -> None:
    trace = trace_of(waveform, 10_000.0, 5.5)
    runs = host_runs(waveform, 100, offset=1000.0)
    lost_last = replace(trace, edges=trace.edges[:-1])
    with pytest.raises(DeviceError, match="saw 1 falling edge of the timestamp pin in run 4, not two"):
        windows_from_edges(lost_last, runs)
    # An edge too many before the run, as when a board starts: the last two are the run's.
    extra = sorted((*trace.edges, Edge(waveform.pieces[0].start - 0.015, False)), key=lambda edge: edge.seconds)
    assert windows_from_edges(replace(trace, edges=tuple(extra)), runs)[0].start == pytest.approx(1.0)
    # In the middle of the run: which two are the run's cannot be told.
    middle = sorted((*trace.edges, Edge(waveform.pieces[0].start + 0.3, False)), key=lambda edge: edge.seconds)
    with pytest.raises(DeviceError, match=r"saw 3 falling edges .* in run 0, the last two 0\.200000 s"):
        windows_from_edges(replace(trace, edges=tuple(middle)), runs)


def test_an_edge_that_bounces_is_one_edge() -> None:
    edges = (Edge(1.0, False), Edge(1.00001, True), Edge(1.00002, False), Edge(1.0001, True), Edge(2.0, False))
    trace = Trace(np.arange(3.0), np.ones(3), 3.3, edges, 0.0)
    assert falling_edges(trace) == [1.0, 2.0]


def test_warm_ups_cannot_be_told_from_inferences_by_messages() -> None:
    trace = Trace(np.arange(0, 3, 0.001), np.ones(3000), 3.3, (), 0.0)
    with pytest.raises(DeviceError, match="10 warm-ups"):
        energy_of_runs(trace, [Run(10, 1.0, 2.0, warmups=10)], SHORT, name="ideal")


def test_without_pin_and_messages_there_are_no_windows() -> None:
    trace = Trace(np.arange(0, 3, 0.001), np.ones(3000), 3.3, (), 0.0)
    with pytest.raises(
        DeviceError, match=r"no timestamp pin, and no message told when run 0 began\nWire .* performance"
    ):
        energy_of_runs(trace, [Run(10, 1.0, 2.0, timed=False)], SHORT, name="ideal")


def test_a_slow_line_around_a_run_is_no_odd_edge(waveform: Waveform) -> None:
    trace = trace_of(waveform, 10_000.0, 5.5)
    runs = [
        replace(run, began=run.began - 0.03, ended=run.ended + 0.2) for run in host_runs(waveform, 100, offset=1000.0)
    ]
    windows = windows_from_edges(trace, [replace(run, timed=False) for run in runs])
    assert [window.start for window in windows] == pytest.approx([piece.start for piece in waveform.pieces])
    with pytest.raises(DeviceError, match=r"though the inferences took 0\.730 s"):
        windows_from_edges(trace, runs)


def test_a_wrong_voltage_is_refused(waveform: Waveform) -> None:
    trace = replace(trace_of(waveform, 10_000.0, 5.5), volts=np.full(55_000, 2.9))
    with pytest.raises(DeviceError, match=r"with 2\.900 V in window 0, not with 3\.300 V"):
        energy_of_runs(trace, host_runs(waveform, 100, offset=1000.0), replace(SHORT, volts=3.3), name="ideal")


def test_windows_outside_the_trace_are_refused(waveform: Waveform) -> None:
    with pytest.raises(
        DeviceError, match=r"has samples from 0\.000000 to 5\.499900 s, not from 5\.000000 to 6\.000000 s"
    ):
        energy_of(trace_of(waveform, 10_000.0, 5.5), [Window(5.0, 6.0, 10, 0.0)])


def test_a_trace_without_samples_is_refused() -> None:
    nothing = Trace(np.empty(0), np.empty(0), 3.3, (), 0.0)
    with pytest.raises(DeviceError, match="gave 0 samples"):
        energy_of(nothing, [Window(0.0, 1.0, 10, 0.0)])
    with pytest.raises(DeviceError, match="ideal: gave 0 samples"):
        energy_of_runs(nothing, [Run(10, 0.0, 1.0)], SHORT, name="ideal")


def test_too_short_and_too_few_windows_are_no_mlperf_tiny_result() -> None:
    waveform = Waveform(0.01, (Piece(1.0, 12.0, 0.05), Piece(13.0, 22.5, 0.05)))
    result = energy_of_runs(trace_of(waveform, 1000.0, 24.0), host_runs(waveform, 9, offset=1000.0), SHORT, name="i")
    assert result.as_json()["mlperf_tiny"] is False
    assert result.notes == (
        "2 windows; MLPerf Tiny takes the median of 5",
        "window 0 has 9 inferences; MLPerf Tiny asks for 10",
        "window 1 lasts 9.500 s; MLPerf Tiny asks for 10 s",
        "window 1 has 9 inferences; MLPerf Tiny asks for 10",
    )


def test_five_windows_of_ten_seconds_are_one() -> None:
    waveform = runs_of_inferences(5, 10.0)
    trace = trace_of(waveform, 10_000.0, 53.0)
    result = energy_of_runs(trace, host_runs(waveform, 1000, offset=1000.0), EnergyOptions(), name="ideal")
    report = result.as_json()
    assert report["mlperf_tiny"] is True and report["notes"] == []
    assert report["microjoules_per_inference"] == pytest.approx(waveform.joules(2) * 1e3, rel=1e-4)
    assert report["source"] == "measured" and report["lost_samples"] == 0
