"""Figures as text, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1) -> str:
    """In Markdown; the first `words` columns hold words, the others numbers."""
    table = [heads, ["---"] * words + ["---:"] * (len(heads) - words), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def rate(macs: int, count: int | None) -> str:
    """MAC per instruction or cycle; "" where there are none."""
    return f"{macs / count:.3f}" if macs and count else ""


def ratio_text(ratio: float | None) -> str:
    """A multiple with three significant digits; "" for none."""
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def spread_text(row: dict[str, Any], key: str) -> str:
    """`97.83 ± 0.15`: a mean over seeds and its standard deviation."""
    return f"{row[key]:.2f} ± {row[f'{key}_spread']:.2f}"


def rounds_otherwise(row: dict[str, Any]) -> bool:
    """Whether a row's codes differ from the integer semantics, as with a vendor's library; never for floats."""
    return not row["error"] and bool(row["max_abs_diff"]) and row["encoding"] != "float32"
