"""Benchmark figures as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tinygen.bench import boards
from tinygen.bench.across import across_markdown
from tinygen.bench.figures import rate, ratio_text, rounds_otherwise
from tinygen.bench.published import OPEN
from tinygen.bench.suites import sections
from tinygen.cli.sheet import Column, Sheet, name, number, prose

_Row = dict[str, Any]


_PLACE = (name("case"), name("kernels"), name("compiler"))
"""Which measurement a row is."""


def suite_table(suites: Sequence[dict[str, str]]) -> RenderableType:
    """Names of the suites and what is in them."""
    table = Sheet("Suites", [name("suite"), prose("cases")])
    for entry in suites:
        table.add_row(entry["name"], entry["summary"])
    return table


def bench_view(report: dict[str, Any], *, layers: bool) -> RenderableType:
    """Everything about a benchmark: work, memory, summary, and layers where wanted."""
    parts = _sections(report["rows"])
    rows = [row for row in report["rows"] if "seconds" not in row and row["suite"] != boards.SUITE]
    failed = [row for row in report["rows"] if row["error"]]
    failures: list[RenderableType] = [Text(), _failures(failed)] if failed else []
    if not rows:
        return Group(*parts, *failures)
    parts += _across(rows)
    parts += [_work(report, rows), Text(), _memory(report, rows), Text()]
    parts += [_break_even(report["break_even"]), Text()] if report.get("break_even") else []
    if layers:
        for group in _by_case(rows).values():
            if max((len(row["layers"]) for row in group), default=0) > 1:
                parts += [_layers(group), Text()]
    parts += [_summary(report)]
    return Group(*parts, *failures, Text(), *_notes(report))


def _sections(rows: Sequence[_Row]) -> list[RenderableType]:
    """What suites say about their rows; tables are Markdown, as in the documentation."""
    parts: list[RenderableType] = []
    for section in sections(rows):
        parts += [Text(section.title, style="bold"), Text()]
        parts += [part for table in section.tables for part in (Text(table, no_wrap=True, overflow="ignore"), Text())]
        parts += [Text(text) for text in (*section.statements, "")] if section.statements else []
    return parts


def _across(rows: Sequence[_Row]) -> list[RenderableType]:
    """Several boards side by side, as Markdown: a table of the documentation."""
    table = across_markdown(rows)
    return [Text(table, no_wrap=True, overflow="ignore"), Text()] if table else []


def _work(report: dict[str, Any], rows: Sequence[_Row]) -> RenderableType:
    published = any(row["published"] for row in rows)
    best = any("best_cycles" in (row["published"] or {}) for row in rows)
    columns = [name("case"), number("MAC", 6), name("kernels"), name("compiler"), number("instructions")]
    columns += [number("MAC/\ninstr.", 7), number("cycles", 1), number("MAC/\ncycle", 5), number("ms", 1)]
    columns += [number(f"x\n{report['baseline']}", 2)] if report["baseline"] else []
    columns += [number("published\ninstr.", 4), number("x\npublished", 3)] if published else []
    columns += [number("best\ncycles", 9), number("best\nms", 8), name("cycles\nare", 7)] if best else []
    table = Sheet(f"Work on {report['board_title']}", columns)
    for row in _with_gaps(table, rows):
        cells: list[str | Text] = [row["case"], f"{row['macs']:,}"] if row["first"] else ["", ""]
        cells += [row["kernels"], row["toolchain"]]
        if row["error"]:
            table.add_row(*cells, Text("failed", style="red"))
            continue
        cells += [
            _number(row["instructions"]),
            rate(row["macs"], row["instructions"]),
            _number(row["cycles_predicted"]),
            rate(row["macs"], row["cycles_predicted"]),
            _milliseconds(row),
        ]
        cells += [_multiple(row["ratios"].get("instructions"))] if report["baseline"] else []
        if published:
            theirs = (row["published"] or {}).get("instructions")
            cells.append(_number(theirs) if row["first"] else "")
            cells.append(_multiple(row["instructions"] / theirs if theirs else None))
        if best:
            theirs = row["published"] or {} if row["first"] else {}
            cells += [_number(theirs.get("best_cycles")), str(theirs.get("best_ms", "")), theirs.get("verdict", "")]
        table.add_row(*cells)
    return table


def _memory(report: dict[str, Any], rows: Sequence[_Row]) -> RenderableType:
    columns = [
        *_PLACE,
        number("flash"),
        number("without\nweights", 2),
        number("RAM"),
        number("arena", 1),
        number("stack\nused", 5),
    ]
    ratios = [number(f"{what} x\n{report['baseline']}", 3) for what in ("flash", "arena")] if report["baseline"] else []
    published = any("arena_bytes" in (row["published"] or {}) for row in rows)
    theirs = ("published\nw/o weights", "x w/o\nweights", "published\narena", "x\narena")
    extra = [number(heading, 4) for heading in theirs] if published else []
    table = Sheet("Memory in bytes", [*columns, *ratios, *extra])
    for row in _with_gaps(table, [row for row in rows if not row["error"]]):
        cells: list[str | Text] = [row["case"] if row["first"] else "", row["kernels"], row["toolchain"]]
        keys = ("flash_bytes", "flash_without_weights_bytes", "ram_bytes", "arena_bytes", "stack_used_bytes")
        cells += [_number(row[key]) for key in keys]
        if ratios:
            cells += [_multiple(row["ratios"].get(key)) for key in ("flash_bytes", "arena_bytes")]
        if published:
            for key in ("flash_without_weights_bytes", "arena_bytes"):
                other = (row["published"] or {}).get(key)
                cells += [_number(other), _multiple(row[key] / other if other else None)]
        table.add_row(*cells)
    return table


def _break_even(rows: Sequence[_Row]) -> RenderableType:
    """From which sparsity on the sparse kernels are better."""
    figures = (number(heading) for heading in ("cycles", "flash", "predicted", "worst choice"))
    columns = [name("layer"), name("compiler"), *figures]
    table = Sheet("Break-even sparsity in %: from there on sparse kernels are better", columns)
    for row in rows:
        shares = [row[key] for key in ("measured", "flash", "predicted")]
        cells = ["never" if share is None else f"{share:.0f}" for share in shares]
        worst = row["worst_choice"]
        table.add_row(row["series"], row["toolchain"], *cells, "" if worst is None else f"x {worst:.2f}")
    return table


def _layers(rows: Sequence[_Row]) -> RenderableType:
    """One case: a line per layer; instructions, multiple and MAC per cycle for each family and compiler."""
    rows = [row for row in rows if not row["error"]]
    labels = [f"{row['kernels']} {row['toolchain']}" for row in rows]
    multiples = [bool(row["baseline"]) and row["kernels"] != row["baseline"] for row in rows]
    columns: list[Column] = []
    for rank, (label, multiple) in enumerate(zip(labels, multiples, strict=True)):
        columns.append(number(label.replace(" ", "\n"), rank))
        columns += [number(f"x\n{rows[0]['baseline']}", 100 + rank)] if multiple else []
        columns.append(number("MAC/\ncycle", 200))
    table = Sheet(f"Layers of {rows[0]['case']}", [name("layer"), number("MAC", 150), *columns])
    names = list(dict.fromkeys(layer["name"] for row in rows for layer in row["layers"]))
    found = [{layer["name"]: layer for layer in row["layers"]} for row in rows]
    for one in names:
        macs = next(layers[one]["macs"] for layers in found if one in layers)
        cells: list[str | Text] = [one, _number(macs)]
        for layers, multiple in zip(found, multiples, strict=True):
            layer = layers.get(one, {})
            cells.append(_number(layer.get("instructions")))
            cells += [_multiple(layer.get("ratios", {}).get("instructions"))] if multiple else []
            cells.append(rate(macs, layer.get("cycles_predicted")))
        table.add_row(*cells)
    return table


def _summary(report: dict[str, Any]) -> RenderableType:
    keys = {
        "instructions": number("instr."),
        "cycles_predicted": number("cycles"),
        "flash_bytes": number("flash", 1),
        "flash_without_weights_bytes": number("without\nweights", 4),
        "ram_bytes": number("RAM", 2),
        "arena_bytes": number("arena", 3),
    }
    columns = [name("suite"), name("kernels"), name("compiler"), name("failed", 6), name("against"), number("cases", 5)]
    table = Sheet(
        "Geometric means, as a multiple (less is better)",
        [*columns, *keys.values(), name("worst in instructions", 5)],
    )
    for entry in report["summary"]:
        place = [entry["suite"], entry["kernels"], entry["toolchain"], str(entry["errors"] or "")]
        if entry["baseline"] and entry["baseline"] != entry["kernels"]:
            count = str(entry["cases"] - entry["errors"])
            means = [_multiple(entry["ratios"].get(key)) for key in keys]
            table.add_row(*place, entry["baseline"], count, *means, _worst(entry["worst"]))
        if entry["published_ratios"]:
            means = [_multiple(entry["published_ratios"].get(key)) for key in keys]
            count = str(entry["published_cases"])
            table.add_row(*place, "published", count, *means, _worst(entry["published_worst"]))
    return table if table.rows else Text()


def _worst(entry: dict[str, Any] | None) -> str:
    return f"{ratio_text(entry['instructions'])} {entry['case']}" if entry else ""


def _failures(rows: Sequence[_Row]) -> RenderableType:
    table = Sheet("Failed", [*_PLACE, prose("why")])
    for row in rows:
        table.add_row(row["case"], row["kernels"], row["toolchain"], Text(row["error"], style="red"))
    return table


def _notes(report: dict[str, Any]) -> list[RenderableType]:
    different = [row for row in report["rows"] if rounds_otherwise(row)]
    notes = [f"Cycles: {report['cycles_source']}. Multiples: this / the other. Outputs equal tinygen's semantics"]
    notes[0] += " in every row." if not different and not any(row["error"] for row in report["rows"]) else ", except:"
    notes += [
        f"  {row['case']}, {row['kernels']}, {row['toolchain']}: codes differ by up to {row['max_abs_diff']}"
        for row in different
    ]
    notes += [f"{board}: {text}." for board, text in report["cycles_error"].items()]
    if any((row["published"] or {}).get("verdict") == OPEN for row in report["rows"]):
        notes.append(f"{OPEN}: the published figure is within what the prediction may be off by.")
    notes += [f"Published by others: {source}." for source in report["sources"]]
    return [Text(note, style="dim") for note in notes]


def _by_case(rows: Sequence[_Row]) -> dict[tuple[str, str], list[_Row]]:
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row["suite"], row["case"]), []).append(row)
    return groups


def _with_gaps(table: Sheet, rows: Sequence[_Row]) -> Iterable[_Row]:
    """Rows marked with `first` of their case, a gap between cases of several rows."""
    groups = list(_by_case(rows).values())
    for index, group in enumerate(groups):
        for place, row in enumerate(group):
            yield row | {"first": place == 0}
        if len(group) > 1 and index + 1 < len(groups):
            table.add_row()


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _multiple(ratio: float | None) -> Text:
    """Green where this is clearly less than the other, red where it is clearly more."""
    style = "" if ratio is None or 0.995 < ratio < 1.005 else "green" if ratio < 1 else "red"
    return Text(ratio_text(ratio), style=style)


def _milliseconds(row: _Row) -> str:
    value = row.get("milliseconds_predicted")
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
