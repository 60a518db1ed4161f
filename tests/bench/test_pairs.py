"""Suite `pairs`: what it measures, and its table."""

from __future__ import annotations

from typing import Any

import pytest

from tinygen.bench.case import Case, samples_of
from tinygen.bench.pairs import (
    ACTIVATIONS,
    LAYERS,
    WEIGHTS,
    bits_markdown,
    cases,
    pair_lines,
    pair_statements,
    pairs_markdown,
)
from tinygen.bench.suites import SuiteOptions
from tinygen.frontends.load import load_model
from tinygen.lowering.select import choose

FOUND = cases(SuiteOptions())
DSP = ("c99", "dsp", "dual-issue")


def test_every_pair_is_there_or_said_to_be_impossible() -> None:
    assert len(FOUND.cases) + len(FOUND.skipped) == len(LAYERS) * (len(ACTIVATIONS) * len(WEIGHTS) + 1)
    assert all("32 bits" in one.reason for one in FOUND.skipped)
    assert len({case.name for case in FOUND.cases}) == len(FOUND.cases)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_no_pair_is_plain(layer: Any) -> None:
    mine = [case for case in FOUND.cases if case.figures["pair"]["layer"] == layer.name][::9]
    for case in mine:
        graph = load_model(case.model)
        assert choose(graph.node(graph.ops[0]), "compact", DSP).kernel.family == "tinygen", case.name
    assert len(samples_of(load_model(mine[0].model))) == 2


def _row(case: Case, cycles: int, kernel: str) -> dict[str, Any]:
    row = {"suite": case.suite, "case": case.name, "cycles_predicted": cycles, "layers": [{"kernel": kernel}]}
    return row | dict(case.figures)


def test_table() -> None:
    rows = [_row(case, 100 + index, "conv_2d_dsp") for index, case in enumerate(FOUND.cases[:4])]
    rows.append(_row(FOUND.cases[5], 250, "conv_2d_codes"))
    lines = pair_lines(rows)
    assert [line["weights"] for line in lines[:3]] == list(WEIGHTS)[:3]
    assert lines[0]["int8"] == "1.01" and lines[0]["binary"] == "–"
    assert pairs_markdown(rows).count("\n") == len(lines) + 1
    plain, slow = pair_statements(rows)
    assert FOUND.cases[5].name in plain and slow.endswith(f"{FOUND.cases[5].name} 2.50.")
    both = [row | {"board": board} for board in ("a", "b") for row in rows]
    assert pairs_markdown(both).startswith("a\n\n| Layer") and "\n\nb\n\n| Layer" in pairs_markdown(both)
    assert pair_statements(both)[2:] == [f"b: {plain}", f"b: {slow}"]


def test_each_compiler_is_measured_by_its_own_int8() -> None:
    rows = [_row(case, 100, "conv_2d_dsp") | {"board": "a", "toolchain": "zig"} for case in FOUND.cases[:2]]
    rows += [row | {"toolchain": "gcc", "cycles_predicted": 200 + 50 * place} for place, row in enumerate(rows)]
    assert [line.split(":")[0] for line in pair_statements(rows)] == ["zig", "zig", "gcc", "gcc"]
    assert pairs_markdown(rows).count("| 1.00 |") == 1 and pairs_markdown(rows).count("| 1.25 |") == 1
    assert pair_statements(rows)[-1].endswith(f"{FOUND.cases[1].name} 1.25.")


def test_only_wanted_pairs_are_made_or_left_out_aloud() -> None:
    found = cases(SuiteOptions(only=("dense_binary_x_*",)))
    assert len(found.cases) + len(found.skipped) == len(LAYERS) + len(ACTIVATIONS)
    assert {one.name for one in FOUND.skipped} & set(found.unwanted), "impossible pairs that nobody asked for"


def test_bits_a_weight() -> None:
    """Those with int8 activations; layers and boards side by side."""
    cases = [case for case in FOUND.cases if case.figures["pair"]["activations"] == "int8"]
    assert {case.name: case.figures["weight_count"] for case in cases}["depthwise_int8_x_int8"] == 9 * 64
    sizes = {"flash_bytes": 10_000 + 2 * 36_864 // 8, "flash_without_weights_bytes": 10_000}
    rows = [_row(case, 1, "") | sizes for case in cases if case.name.startswith("conv_3x3")]
    lines = bits_markdown(rows).splitlines()
    assert lines[0] == "| Weights | conv_3x3 |" and len(lines) == 2 + len(WEIGHTS)
    assert all(line.endswith("| 2.00 |") for line in lines[2:])
    assert bits_markdown([row | {"board": board} for board in "ab" for row in rows]).startswith(
        "| Weights | conv_3x3, a | conv_3x3, b |"
    )
    assert bits_markdown([_row(FOUND.cases[0], 1, "") | sizes]) == "", "TFLite's int8 is no pair"
