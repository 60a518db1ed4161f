"""Where sparse kernels begin to pay: by measured cycles and flash, and by what the lowering predicts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tinygen.bench.case import Case
from tinygen.frontends.load import load_model
from tinygen.lowering.break_even import break_even
from tinygen.lowering.select import DENSE, SPARSE
from tinygen.targets.board import Board

Row = dict[str, Any]


def break_evens(rows: Sequence[Row], cases: Sequence[Case], board: Board) -> list[Row]:
    """One row per series of sparsities and compiler, of those measured with dense and with sparse kernels.

    `measured` and `flash` are sparsities in per cent, between two measured ones on a straight line; None where one
    family is better at all of them. `predicted` is the lowering's, None for zeros in blocks and groups. `worst_choice`
    is how many times the cycles of the better of the two family "tinygen" takes, at its worst.
    """
    firsts = {case.figures["series"]: case for case in reversed(cases) if "series" in case.figures}
    found = []
    for series, case in reversed(firsts.items()):
        graph = load_model(case.model)
        # The lowering's is for single kernels: it says nothing about blocks.
        single = case.figures.get("pattern", "single") == "single"
        predicted = break_even(graph.node(graph.ops[0]), board.isa) if single else None
        mine = [row for row in rows if row.get("series") == series and not row["error"]]
        for toolchain in dict.fromkeys(row["toolchain"] for row in mine):
            own = [row for row in mine if row["toolchain"] == toolchain]
            by = {
                family: {row["sparsity"]: row for row in own if row["kernels"] == family}
                for family in (DENSE, SPARSE, "tinygen")
            }
            if len(by[DENSE].keys() & by[SPARSE].keys()) > 1:
                found.append(
                    {
                        "series": series,
                        "toolchain": toolchain,
                        "predicted": None if predicted is None else 100 * predicted,
                        "measured": _crossing(by[DENSE], by[SPARSE], "cycles_predicted"),
                        "flash": _crossing(by[DENSE], by[SPARSE], "flash_bytes"),
                        "worst_choice": _worst(by[DENSE], by[SPARSE], by["tinygen"]),
                    }
                )
    return found


def _crossing(dense: dict[int, Row], sparse: dict[int, Row], figure: str) -> float | None:
    """Where the difference changes its sign for good."""
    points = [(at, sparse[at][figure] - dense[at][figure]) for at in sorted(dense.keys() & sparse.keys())]
    for (left, before), (right, after) in reversed(list(pairwise(points))):
        if before > 0 >= after:
            return float(left + (right - left) * before / (before - after))
    return None


def _worst(dense: dict[int, Row], sparse: dict[int, Row], chosen: dict[int, Row]) -> float | None:
    common = dense.keys() & sparse.keys() & chosen.keys()
    key = "cycles_predicted"
    return max((chosen[at][key] / min(dense[at][key], sparse[at][key]) for at in common), default=None)
