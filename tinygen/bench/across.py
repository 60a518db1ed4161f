"""One table of the same cases on several boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinygen.bench.figures import markdown_table, spread_text

_Row = dict[str, Any]
_FIGURES: Mapping[str, str] = {
    "cycles": "cycles_predicted",
    "µJ": "microjoules_predicted",
    "flash": "flash_bytes",
    "RAM": "ram_bytes",
    "arena": "arena_bytes",
}


def across_markdown(rows: Sequence[_Row]) -> str:
    """A line per case, kernel family and compiler, with the figures of all boards; "" for a single board.

    Args:
        rows: of `BenchReport.rows`, or of its JSON; rows of suites with boards of their own are left out.
    """
    mine = [row for row in rows if "seconds" not in row and row["suite"] != "boards"]
    boards = list(dict.fromkeys(row["board"] for row in mine))
    if len(boards) < 2:
        return ""
    groups: dict[tuple[str, str, str], dict[str, _Row]] = {}
    for row in mine:
        key = row["case"].partition("@")[0], row["kernels"], row["toolchain"]
        groups.setdefault(key, {})[row["board"]] = row
    accuracies = [name for name in ("accuracy", "rejects") if any(name in row for row in mine)]
    heads = ["case", "kernels", "compiler", *map(_HEADS.__getitem__, accuracies)]
    heads += [f"{board}: {title}" if index == 0 else title for board in boards for index, title in enumerate(_FIGURES)]
    lines = []
    for key, found in groups.items():
        one = next(iter(found.values()))
        cells = [*key, *(_accuracy(one, name) for name in accuracies)]
        cells += [_cell(found.get(board), figure) for board in boards for figure in _FIGURES.values()]
        lines.append(cells)
    return markdown_table(heads, lines, 3 + len(accuracies))


_HEADS = {"accuracy": "accuracy, %", "rejects": "false rejects, %"}


def _accuracy(row: _Row, name: str) -> str:
    if row.get(name) is None:
        return ""
    return spread_text(row, name) if f"{name}_spread" in row else f"{row[name]:.1f}"


def _cell(row: _Row | None, key: str) -> str:
    if row is None:
        return ""
    if row["error"]:
        return "failed"
    value = row.get(key)
    return "" if value is None else f"{value:,.0f}"
