"""What others have published for the same models and layers (published.json, each figure with its source)."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from tinygen.bench.case import Case
from tinygen.builds.predicted import error_of
from tinygen.targets.board import Board

_DATA = Path(__file__).with_name("published.json")
OPEN = "open"


@cache
def _published() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))
    return content


def published(case: Case, board: Board) -> dict[str, Any] | None:
    """Figures for a case on the board's core: `who`, `source`, `instructions`, for models more; None for none.

    `best_cycles` are the fewest that anyone has published for a model on such a core, `best_ms` the milliseconds
    where that was at this board's clock; memories and their waits may differ even then. See `verdict`.
    A model is recognised by its SHA-256 where that is known, else by a part of its name together with its exact number
    of multiply-accumulates; a layer by its name in suite `int8-kernels` and its multiply-accumulates; a network of
    another suite by its name there: of that there is a time.
    """
    groups = _published()
    for entry in groups["models"]["entries"]:
        if board.core in entry and _same_model(case, entry):
            figures = dict(entry[board.core])
            for place, milliseconds in entry.get("best_ms", {}).items():
                core, megahertz = place.split("@")
                if core == board.core:
                    figures["best_cycles"] = round(milliseconds * int(megahertz) * 1000)
                    figures["best_source"] = groups["models"]["best_ms_source"]
                    if board.core_hz == int(megahertz) * 1_000_000:
                        figures["best_ms"] = milliseconds
            return {"who": groups["models"]["who"], "source": groups["models"]["source"], **figures}
    for entry in groups["networks"]["entries"]:
        place = f"{board.core}@{board.core_hz // 1_000_000}"
        if (case.suite, case.name) == (entry["suite"], entry["case"]) and place in entry["ms"]:
            assert entry["macs"] == case.macs, case.name
            milliseconds = entry["ms"][place]
            cycles = round(milliseconds * board.core_hz / 1000)
            kept = {key: groups["networks"][key] for key in ("who", "source")}
            return {**kept, "best_cycles": cycles, "best_ms": milliseconds}
    for group in (groups["kernels"], groups["layers"]):
        for entry in group["entries"]:
            if case.suite == "int8-kernels" and entry["case"] == case.name and board.core in entry:
                assert entry["macs"] == case.macs, case.name
                return {"who": group["who"], "source": group["source"], "instructions": entry[board.core]}
    return None


def verdict(cycles: int | None, figures: dict[str, Any] | None, board: Board) -> dict[str, str]:
    """`verdict`: whether predicted cycles are "fewer" or "more" than the published, "open" within their interval.

    Nothing where there are no cycles of both, or where it is not known how far predictions are off.
    """
    interval = error_of(board).interval
    if not cycles or not figures or "best_cycles" not in figures or interval is None:
        return {}
    low, high = (cycles * ratio for ratio in interval)
    best = figures["best_cycles"]
    return {"verdict": "fewer" if high < best else "more" if low > best else OPEN}


def _same_model(case: Case, entry: dict[str, Any]) -> bool:
    if not isinstance(case.model, Path) or case.macs != entry["macs"]:
        return False
    if hashlib.sha256(case.model.read_bytes()).hexdigest() == entry.get("sha256"):
        return True
    return any(name in case.model.stem.lower() for name in entry["names"])


def sources(rows: list[dict[str, Any]]) -> list[str]:
    """The sources of all published figures in rows, each once."""
    found: dict[str, None] = {}
    for row in rows:
        if row.get("published"):
            found[f"{row['published']['who']}: {row['published']['source']}"] = None
            if "best_source" in row["published"]:
                found[f"best: {row['published']['best_source']}"] = None
    return list(found)
