"""Suite `pairs`: what it measures, and its table."""

from __future__ import annotations

from typing import Any

import pytest

from tinygen.bench.case import Case, samples_of
from tinygen.bench.pairs import ACTIVATIONS, LAYERS, WEIGHTS, cases, pair_lines, pair_statements, pairs_markdown
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
    rows = [_row(case, 100 + index, "conv_2d_s8_dsp") for index, case in enumerate(FOUND.cases[:4])]
    rows.append(_row(FOUND.cases[5], 250, "integer_conv_2d"))
    lines = pair_lines(rows)
    assert [line["weights"] for line in lines[:3]] == list(WEIGHTS)[:3]
    assert lines[0]["int8"] == "1.01" and lines[0]["binary"] == "–"
    assert pairs_markdown(rows).count("\n") == len(lines) + 1
    plain, slow = pair_statements(rows)
    assert FOUND.cases[5].name in plain and slow.endswith(f"{FOUND.cases[5].name} 2.50.")
