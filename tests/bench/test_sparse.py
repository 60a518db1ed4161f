"""Suite `sparse`: what its cases are, and what is made of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.bench.break_even import break_evens
from tinygen.bench.case import Case
from tinygen.bench.registry import find_suite
from tinygen.bench.run import default_kernels
from tinygen.bench.sparse import SPARSITIES
from tinygen.bench.suites import SuiteOptions
from tinygen.frontends.load import load_model
from tinygen.targets.boards import load_board

CASES = find_suite("sparse").cases(SuiteOptions()).cases


def test_zeros() -> None:
    """As many kernels are zero as the case says; of ternary ones some more may be."""
    for case in [case for case in CASES if case.name.startswith("conv")]:
        graph = load_model(case.model)
        weights = graph.node(graph.ops[0]).constant(1)
        share = 100 * (1 - weights.any(axis=tuple(range(1, weights.ndim - 1))).mean())
        # In blocks zeros come to whole ones, some of them cut off.
        assert share >= case.figures["sparsity"] - (1 if "pattern" in case.figures else 0.01)
        if case.encoding == "int8" and weights.ndim == 4 and weights.shape[1] > 1:
            assert abs(share - case.figures["sparsity"]) < 0.01


def test_patterns_of_four() -> None:
    """At most two, or one, of each four neighbouring channels; the other half, or quarter, is there."""
    found = [case for case in CASES if case.name.startswith("of4_")]
    assert len(found) >= 4 and all("series" not in case.figures for case in found)
    for case in found:
        graph = load_model(case.model)
        live = (graph.node(graph.ops[0]).constant(1) != 0).reshape(-1, 4).sum(1)
        kept = int(case.name[-1])
        assert live.max() == kept and (live == kept).mean() > 0.95


def test_families() -> None:
    assert default_kernels((), ["sparse"]) == ("dense", "sparse", "tinygen")
    assert default_kernels((), ["sparse", "lowbit"]) == default_kernels() == ("tinygen", "reference")


def row(case: Case, kernels: str, cycles: float, flash: float) -> dict[str, Any]:
    return {
        "kernels": kernels,
        "toolchain": "zig",
        "error": None,
        "cycles_predicted": cycles,
        "flash_bytes": flash,
        **case.figures,
    }


def test_break_evens() -> None:
    """Dense figures stay, sparse ones fall on a line: where they meet is known."""
    series = [case for case in CASES if case.figures.get("series") == "conv_1x1_128_128_8x8_int8"]
    assert len(series) == len(SPARSITIES)
    rows = []
    for case in series:
        live = 1 - case.figures["sparsity"] / 100
        rows += [row(case, "dense", 100, 50), row(case, "sparse", 160 * live, 45 * live)]
        rows += [row(case, "tinygen", max(100, 160 * live), 0)]
    (found,) = break_evens(rows, CASES, load_board("f746zg"))
    assert np.isclose(found["measured"], 37.5)
    assert found["flash"] == 0
    assert np.isclose(found["worst_choice"], max(1.6, 100 / 8))
    assert 30 < found["predicted"] < 80
