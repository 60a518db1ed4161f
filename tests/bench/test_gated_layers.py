"""Suite `gated`: what it measures, and its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygen.bench.case import Case
from tinygen.bench.gated_layers import (
    CHANNELS,
    DENSITIES,
    KINDS,
    SIZES,
    break_evens,
    cases,
    gated_lines,
    gated_markdown,
    refusals,
)
from tinygen.bench.suites import SuiteOptions
from tinygen.frontends.load import load_model
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.lowering.select import choose

FOUND = {case.name: case for case in cases(SuiteOptions()).cases}
PARTS = ("conv1_saliency", "conv1_scores", "conv1_winners", "conv1_mean", "conv1_mixed", "conv1")


def _row(case: Case, *cycles: int) -> dict[str, Any]:
    layers = [{"name": "conv0", "cycles_predicted": 10**6}]
    layers += [{"name": name, "cycles_predicted": count} for name, count in zip(PARTS, cycles, strict=True)]
    figures = {"suite": case.suite, "case": case.name, "toolchain": "gcc", "board": "f746zg", "error": None}
    return figures | dict(case.figures) | {"layers": layers}


def test_cases() -> None:
    assert len(FOUND) == len(CHANNELS) * len(SIZES) * (1 + len(KINDS) * len(DENSITIES) + 4)
    whole = FOUND["conv_3x3_64_8x8_fbs-all-75"]
    assert whole.gates == "never" and whole.figures["gated"]["macs"] == 9 * 64 * 64 * 64
    assert FOUND["conv_3x3_64_8x8_fbs-75"].gates == "always"
    dense, half = FOUND["conv_3x3_64_8x8_dense"].figures["gated"], FOUND["conv_3x3_64_8x8_fbs-50"].figures["gated"]
    masks = FOUND["conv_3x3_64_8x8_ftwt-50"].figures["gated"]
    assert dense["macs"] == 9 * 64 * 64 * 64 and 4 * half["macs"] == 4 * masks["macs"] == dense["macs"]


@pytest.mark.parametrize(
    "isa", [("c99", "dsp"), ("c99", "dsp", "dual-issue"), ("c99", "scalar")], ids=["m4", "m7", "rv32"]
)
@pytest.mark.parametrize("name", ["16_8x8_fbs-25", "64_8x8_fbs-condconv-75", "16_8x8_ftwt-50"])
def test_loops_are_tuned(name: str, isa: tuple[str, ...]) -> None:
    graph = load_model(FOUND[f"conv_3x3_{name}"].model)
    nodes = [graph.node(op) for op in graph.ops if isinstance(op, GatherConv2D | MaskedConv2D)]
    assert [choose(node, "compact", ("c99", *isa)).kernel.family for node in nodes] == ["tinygen"] * 2


def test_masks_have_their_density() -> None:
    graph = load_model(FOUND["conv_3x3_16_8x8_ftwt-25"].model)
    rng = np.random.default_rng(0)
    for _ in range(3):
        found = evaluate_all(graph, [rng.integers(-128, 128, (1, 8, 8, 4)).astype(np.int8)])
        assert [int(found[f"conv{n}_live"][0, 0]) for n in (0, 1)] == [4, 4]


def test_lines() -> None:
    """A saving of three quarters of the MAC, of which 60 % of the cycles are left of it."""
    rows = [
        _row(FOUND["conv_3x3_64_8x8_dense"], 0, 0, 0, 0, 0, 1000),
        _row(FOUND["conv_3x3_64_8x8_fbs-100"], 100, 50, 10, 0, 0, 1240),
        _row(FOUND["conv_3x3_64_8x8_fbs-50"], 100, 50, 10, 0, 0, 390),
        _row(FOUND["conv_3x3_64_8x8_fbs-condconv-50"], 100, 50, 10, 30, 70, 340),
    ]
    whole, half, mixed = gated_lines(rows)
    assert (whole["of_saving"], whole["share"], half["share"], half["gate"]) == (None, 1.4, 0.55, 150)
    assert half["of_saving"] == pytest.approx(0.45 / 0.75) and mixed["mixing"] == 100
    place = ("conv_3x3_64_8x8", "fbs")
    assert break_evens([whole, half])[place] == pytest.approx(100 - 50 * 400 / 850)
    assert break_evens([whole])[place] is None
    everything = _row(FOUND["conv_3x3_64_8x8_fbs-all-100"], 100, 50, 10, 0, 0, 890)
    lines = gated_lines([*rows, everything])
    assert refusals(lines)[place] == pytest.approx(100 - 50 * 350 / 850) and refusals([whole, half])[place] is None
    assert "| 76 % | 79 % |" in gated_markdown([*rows, everything])
    text = gated_markdown(rows)
    assert text.startswith("f746zg, gcc\n\n| layer") and "| 60 % | 15.0 % | 1.0 % | 0.0 % | 76 % |  |" in text
    assert gated_markdown([rows[0] | {"suite": "pairs"}]) == ""
