"""Suite `flash`: a row per limit, with what the firmware takes and its cycles; the picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from examples.studies.flash_limits import suite
from examples.studies.flash_limits.suite import LIMITS, case_name, limit_cases
from tests.support.integer_layers import TERNARY, affine
from tests.support.switchable import small_graph, small_network
from tinygen.bench.html import render_bench
from tinygen.bench.measure import Job, measure
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.ir.network import Network

TERNARY_NETWORK = Network.of(small_graph("net", TERNARY, affine(-128)))


def test_cases_of_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_trained", lambda name: {"ternary": TERNARY_NETWORK}[name])
    found = find_suite("flash").cases(SuiteOptions(only=("ternary-*",)))
    assert [case.flash_bytes for case in found.cases] == [1024 * limit for limit in LIMITS["ternary"]]
    assert {case_name("pruned", limit) for limit in LIMITS["pruned"]} < set(found.unwanted)
    (case, *_) = found.cases
    assert case.encoding == "int8 x ternary" and case.figures["network"] == "ternary"
    everything = limit_cases("net", small_network(), (64,))[0]
    assert everything.macs > case.macs and everything.switch is None and "6 switches" in everything.shape


@pytest.mark.long
def test_rows_and_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_trained", lambda name: TERNARY_NETWORK)
    monkeypatch.setattr(suite, "LIMITS", {"ternary": (8, 64)})
    report = bench((), ("flash",), BenchOptions(kernels=("tinygen",), jobs=1))
    lost, row = report.rows
    assert "does not fit 8,192 bytes of flash" in lost["error"] and report.errors == 1
    assert row["error"] is None and row["max_abs_diff"] == 0
    assert row["flash_bytes"] <= row["flash_limit_bytes"] == 65536 and row["network"] == "ternary"
    page = render_bench(report.as_json())
    assert "Firmwares built within limits of flash" in page and page.count('aria-label="flash against cycles"') == 1


@pytest.mark.long
def test_cycles_of_all_switches_together() -> None:
    network = small_network()
    case = replace(limit_cases("net", network, (64,))[0], flash_bytes=None)
    whole = measure(Job(case, "compact", "zig", "f746zg"))
    parts = [measure(Job(replace(case, switch=name), "compact", "zig", "f746zg")) for name in network.names]
    assert whole["error"] is None and whole["samples"] == sum(part["samples"] for part in parts)
    # Each part begins after boot, the whole goes from switch to switch: caches differ a little.
    assert whole["cycles_predicted"] == pytest.approx(sum(part["cycles_predicted"] for part in parts), rel=0.02)
