"""Break-even sparsity of sparse kernels: by measured cycles and flash, and by the lowering's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.bench.case import Case
from tinygen.bench.sparse_dense import SINGLE
from tinygen.bench.sparse_dense import break_even as crossing
from tinygen.frontends.load import load_model
from tinygen.lowering.break_even import break_even
from tinygen.lowering.select import DENSE, SPARSE
from tinygen.targets.board import Board

Row = dict[str, Any]


def break_evens(rows: Sequence[Row], cases: Sequence[Case], board: Board) -> list[Row]:
    """One row per series of sparsities and compiler, of those measured with dense and with sparse kernels.

    `measured` and `flash` are sparsities in per cent, between two measured ones on a straight line; None where the
    dense kernel is better at the last. `predicted` is the lowering's, for zeros here and there. `worst_choice` is how
    many times the cycles of the better of the two family "tinygen" takes, at its worst.
    """
    first = {case.figures["series"]: case for case in reversed(cases) if "series" in case.figures}
    found = []
    for series, case in reversed(first.items()):
        graph = load_model(case.model)
        scattered = case.figures.get("pattern", SINGLE) == SINGLE
        predicted = break_even(graph.node(graph.ops[0]), board.isa) if scattered else None
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
    common = sorted(dense.keys() & sparse.keys())
    return crossing([(at, dense[at][figure], sparse[at][figure]) for at in common])


def _worst(dense: dict[int, Row], sparse: dict[int, Row], chosen: dict[int, Row]) -> float | None:
    common = dense.keys() & sparse.keys() & chosen.keys()
    key = "cycles_predicted"
    return max((chosen[at][key] / min(dense[at][key], sparse[at][key]) for at in common), default=None)
