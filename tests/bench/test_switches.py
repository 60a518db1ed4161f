"""Suite `switches`: networks that nobody trained, their cycles side by side, and what may not be dearer than what."""

from __future__ import annotations

import os
from typing import Any

import pytest
from rich.console import Console

from tests.support.torch_models import need
from tinygen.bench import switches
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.cli.bench_tables import bench_view
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel

need("torch")

BITS = {"w8a8": [8, 1.0], "w2a2": [2, 1.0], "w2a2_x0_5": [2, 0.5], "w1a1_x0_5": [1, 0.5]}


def _row(board: str, cycles: list[int]) -> dict[str, Any]:
    row = {"suite": "switches", "case": "eight", "board": board, "kernels": "compact", "toolchain": "zig"}
    return row | {"error": None, "switch_bits": BITS, "switch_cycles": dict(zip(BITS, cycles, strict=True))}


def test_networks() -> None:
    """Of all bits and widths; always the same."""
    (case,) = find_suite("switches").cases(SuiteOptions(only=("six",))).cases
    assert case.figures["switch_bits"] == {
        name + width: [bits, share]
        for width, share in (("", 1.0), ("_x0_5", 0.5))
        for name, bits in (("w8a8", 8), ("w4a4", 4), ("w2a2", 2))
    }
    assert case.encoding == "8-bit x 8-bit" and case.macs > 6_000_000 and case.shape == "6 switches"
    assert isinstance(case.model, MemoryModel)
    assert MemoryModel(switches.untrained("six"), "").read_bytes() == case.model.read_bytes()
    assert [spec.name for spec in switches.specs_of("eight")][2:5] == ["w2a2", "w1a1", "w8a8_x0_5"]


def test_fewer_bits_are_compared_at_one_width() -> None:
    """A narrow switch of more bits may well be cheaper; the same number of cycles is not dearer."""
    fine, equal, dear = ([90, 40, 30, 20], [90, 90, 10, 10], [90, 91, 30, 31])
    assert switches.dearer_switches([_row("a", fine), _row("b", equal)]) == []
    found = switches.dearer_switches([_row("a", fine), _row("b", dear), _row("c", dear) | {"error": "wrong"}])
    assert found == [
        "eight, b, compact, zig: w2a2 takes 91 cycles, w8a8 90",
        "eight, b, compact, zig: w1a1_x0_5 takes 31 cycles, w2a2_x0_5 30",
    ]


def test_table() -> None:
    rows = [_row("a", [9000, 40, 30, 20]), _row("b", [90, 40, 30, 20]) | {"case": "eight@b"}]
    table = switches.switch_cycles_markdown(rows).splitlines()
    assert table[0] == "| switches | switch | a, compact, zig | b, compact, zig |"
    assert table[2] == "| eight | w8a8 | 9,000 | 90 |" and len(table) == 6
    assert switches.switch_cycles_markdown([row | {"suite": "other"} for row in rows]) == ""


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(switches, "untrained", missing)
    with pytest.raises(TinygenError, match=r"(?s)torch is not installed.*pip install"):
        find_suite("switches").cases(SuiteOptions())


@pytest.mark.long
@pytest.mark.parametrize("board", ["f746zg", "esp32c3"])
def test_fewer_bits_never_cost_more(board: str) -> None:
    """On the board, of the network that is hardest: with thresholds of a tanh behind each layer."""
    options = BenchOptions(board=board, kernels=("compact",), toolchains=("zig",), only=("eight",), jobs=1)
    report = bench([], ["switches"], options)
    (row,) = report.rows
    assert row["error"] is None and row["cycles_predicted"] == sum(row["switch_cycles"].values())
    assert switches.dearer_switches(report.rows) == []
    wide = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    wide.print(bench_view(report.as_json(), layers=False))
    text = wide.export_text()
    assert f"| eight | w1a1_x0_5 | {row['switch_cycles']['w1a1_x0_5']:,} |" in text
    assert "Fewer bits never take more cycles than more bits" in text
