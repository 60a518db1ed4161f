"""Benchmark figures as rich tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen.bench import boards
from tinygen.bench.curves import statements
from tinygen.bench.figures import rate, ratio_text, rounds_otherwise, spread_text
from tinygen.bench.switch_totals import switch_rows, switch_totals, totals_text

WIDTH = 160
_Row = dict[str, Any]


def _table(title: str, columns: Iterable[str]) -> Table:
    """Columns whose name starts with `<` are text, others are numbers."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, title_style="bold")
    for name in columns:
        text = name.startswith("<")
        table.add_column(name.lstrip("<"), justify="left" if text else "right", overflow="fold", no_wrap=name != "why")
    return table


def suite_table(suites: Sequence[dict[str, str]]) -> RenderableType:
    """Names of the suites and what is in them."""
    table = _table("Suites", ["<suite", "<cases"])
    for entry in suites:
        table.add_row(entry["name"], entry["summary"])
    return table


def bench_view(report: dict[str, Any], *, layers: bool) -> RenderableType:
    """Everything about a benchmark: work, memory, summary, and layers where wanted."""
    rows = [row for row in report["rows"] if "seconds" not in row and row["suite"] != boards.SUITE]
    timed = [row for row in report["rows"] if "seconds" in row]
    parts: list[RenderableType] = [_generation(timed), Text()] if timed else []
    about_boards = [row for row in report["rows"] if row["suite"] == boards.SUITE]
    parts += [*_boards(about_boards), Text()] if about_boards else []
    if not rows:
        return Group(*parts)
    parts += [_work(report, rows), Text(), _memory(report, rows), Text()]
    parts += [_break_even(report["break_even"]), Text()] if report.get("break_even") else []
    trained = [row for row in rows if "accuracy" in row]
    parts += [_accuracy(trained), Text()] if trained else []
    parts += [Text(text) for text in (*statements(rows), "")] if statements(rows) else []
    parts += [*_switches(rows), Text()] if switch_rows(rows) else []
    if layers:
        for group in _by_case(rows).values():
            if max((len(row["layers"]) for row in group), default=0) > 1:
                parts += [_layers(group), Text()]
    parts += [_summary(report)]
    failed = [row for row in rows if row["error"]]
    if failed:
        parts += [Text(), _failures(failed)]
    parts += [Text(), *_notes(report)]
    return Group(*parts)


def width_of(report: dict[str, Any]) -> int:
    """Columns that the tables need: lines of Markdown must not be broken."""
    return max([WIDTH, *(len(line) for line in boards.boards_markdown(report["rows"]).splitlines())])


def _boards(rows: Sequence[_Row]) -> list[RenderableType]:
    """Every board, as Markdown: a table of the documentation; and what failed."""
    failed = [row for row in rows if row["error"]]
    return [Text(boards.boards_markdown(rows)), *([Text(), _failures(failed)] if failed else [])]


def _work(report: dict[str, Any], rows: Sequence[_Row]) -> RenderableType:
    published = any(row["published"] for row in rows)
    columns = ["<case", "MAC", "<kernels", "<compiler", "instructions", "MAC/\ninstr.", "cycles", "MAC/\ncycle", "ms"]
    columns += [f"x\n{report['baseline']}"] if report["baseline"] else []
    columns += ["published\ninstr.", "x\npublished"] if published else []
    best = any("best_cycles" in (row["published"] or {}) for row in rows)
    columns += ["best\ncycles", "best\nms"] if best else []
    table = _table(f"Work on {report['board_title']}", columns)
    for row in _with_gaps(table, rows):
        cells: list[str | Text] = [row["case"], f"{row['macs']:,}"] if row["first"] else ["", ""]
        cells += [row["kernels"], row["toolchain"]]
        if row["error"]:
            table.add_row(*cells, Text("failed", style="red"))
            continue
        cells += [
            _number(row["instructions"]), rate(row["macs"], row["instructions"]), _number(row["cycles_predicted"]),
            rate(row["macs"], row["cycles_predicted"]), _milliseconds(row),
        ]  # fmt: skip
        cells += [_multiple(row["ratios"].get("instructions"))] if report["baseline"] else []
        if published:
            theirs = (row["published"] or {}).get("instructions")
            cells.append(_number(theirs) if row["first"] else "")
            cells.append(_multiple(row["instructions"] / theirs if theirs else None))
        if best:
            theirs = row["published"] or {} if row["first"] else {}
            cells += [_number(theirs.get("best_cycles")), str(theirs.get("best_ms", ""))]
        table.add_row(*cells)
    return table


def _memory(report: dict[str, Any], rows: Sequence[_Row]) -> RenderableType:
    columns = ["<case", "<kernels", "<compiler", "flash", "without\nweights", "RAM", "arena", "stack\nused"]
    ratios = [f"{what} x\n{report['baseline']}" for what in ("flash", "arena")] if report["baseline"] else []
    published = any("arena_bytes" in (row["published"] or {}) for row in rows)
    extra = ["published\nw/o weights", "x", "published\narena", "x"] if published else []
    table = _table("Memory in bytes", columns + ratios + extra)
    for row in _with_gaps(table, [row for row in rows if not row["error"]]):
        cells: list[str | Text] = [row["case"] if row["first"] else "", row["kernels"], row["toolchain"]]
        keys = ("flash_bytes", "flash_without_weights_bytes", "ram_bytes", "arena_bytes", "stack_used_bytes")
        cells += [_number(row[key]) for key in keys]
        if ratios:
            cells += [_multiple(row["ratios"].get(key)) for key in ("flash_bytes", "arena_bytes")]
        if published:
            for key in ("flash_without_weights_bytes", "arena_bytes"):
                theirs = (row["published"] or {}).get(key)
                cells += [_number(theirs), _multiple(row[key] / theirs if theirs else None)]
        table.add_row(*cells)
    return table


def _break_even(rows: Sequence[_Row]) -> RenderableType:
    """From which sparsity on the sparse kernels are better."""
    columns = ["<layer", "<compiler", "cycles", "flash", "predicted", "worst choice"]
    table = _table("Break-even sparsity in %: from there on sparse kernels are better", columns)
    for row in rows:
        figures = [row[key] for key in ("measured", "flash", "predicted")]
        cells = ["never" if figure is None else f"{figure:.0f}" for figure in figures]
        worst = row["worst_choice"]
        table.add_row(row["series"], row["toolchain"], *cells, "" if worst is None else f"x {worst:.2f}")
    return table


def _accuracy(rows: Sequence[_Row]) -> RenderableType:
    """Trained networks: what they get right, beside what each family and compiler needs for that."""
    first = rows[0]
    title = f"Accuracy: % of {first['test_inputs']:,} test inputs, {len(first['seeds'])} seeds; board: the first"
    columns = ["<case", "accuracy", "- float", "torch", "same\nas torch", "<thesis (table)", "<kernels", "<compiler"]
    table = _table(title, [*columns, "right on\nboard", "flash", "RAM", "cycles", "ms"])
    table.add_row("float", spread_text(first, "accuracy_float"))
    for row in _with_gaps(table, rows):
        cells = _accuracy_cells(row) if row["first"] else [""] * 6
        cells += [row["kernels"], row["toolchain"]]
        cells += [f"{row['board_right']}/{row['samples']}" if "board_right" in row else ""]
        cells += [_number(row[key]) for key in ("flash_bytes", "ram_bytes", "cycles_predicted")]
        table.add_row(*cells, _milliseconds(row))
    return table


def _accuracy_cells(row: _Row) -> list[str]:
    thesis = row["thesis"]
    return [
        row["case"], spread_text(row, "accuracy"), f"{row['accuracy'] - row['accuracy_float']:+.2f}",
        f"{row['accuracy_torch']:.2f}", f"{100 * row['top1_equal']:.2f}",
        f"{thesis['accuracy']:.1f} of {thesis['reference']:.1f} ({thesis['table']})" if thesis else "",
    ]  # fmt: skip


def _switches(rows: Sequence[_Row]) -> list[RenderableType]:
    """Flash of the switches of one firmware, and of all together beside firmwares of their own."""
    columns = ["<case", "<kernels", "<compiler", "constants:\nown", "shared", "alone", "kernels:\nown", "shared"]
    table = _table("Flash of switches in one firmware, bytes", columns)
    for row in _with_gaps(table, switch_rows(rows)):
        constants, code = row["switch"]["constant_bytes"], row["switch"]["code_bytes"]
        numbers = (*constants.values(), row["switch"]["constant_bytes_apart"], *code.values())
        cells = (row["case"] if row["first"] else "", row["kernels"], row["toolchain"])
        table.add_row(*cells, *(_number(number) for number in numbers))
    return [table, *(Text(totals_text(total)) for total in switch_totals(rows))]


def _layers(rows: Sequence[_Row]) -> RenderableType:
    """One case: a line per layer; instructions, multiple and MAC per cycle for each family and compiler."""
    rows = [row for row in rows if not row["error"]]
    labels = [f"{row['kernels']} {row['toolchain']}" for row in rows]
    multiples = [bool(row["baseline"]) and row["kernels"] != row["baseline"] for row in rows]
    columns: list[str] = []
    for label, multiple in zip(labels, multiples, strict=True):
        columns += [label.replace(" ", "\n"), *(["x"] if multiple else []), "MAC/\ncycle"]
    table = _table(f"Layers of {rows[0]['case']}", ["<layer", "MAC", *columns])
    names = list(dict.fromkeys(layer["name"] for row in rows for layer in row["layers"]))
    found = [{layer["name"]: layer for layer in row["layers"]} for row in rows]
    for name in names:
        macs = next(layers[name]["macs"] for layers in found if name in layers)
        cells: list[str | Text] = [name, _number(macs)]
        for layers, multiple in zip(found, multiples, strict=True):
            layer = layers.get(name, {})
            cells.append(_number(layer.get("instructions")))
            cells += [_multiple(layer.get("ratios", {}).get("instructions"))] if multiple else []
            cells.append(rate(macs, layer.get("cycles_predicted")))
        table.add_row(*cells)
    return table


def _summary(report: dict[str, Any]) -> RenderableType:
    keys = {"instructions": "instr.", "cycles_predicted": "cycles", "flash_bytes": "flash",
            "flash_without_weights_bytes": "without\nweights", "ram_bytes": "RAM", "arena_bytes": "arena"}  # fmt: skip
    table = _table(
        "Geometric means, as a multiple (less is better)",
        ["<suite", "<kernels", "<compiler", "failed", "<against", "cases", *keys.values(), "<worst in instructions"],
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
    return table if table.row_count else Text()


def _worst(entry: dict[str, Any] | None) -> str:
    return f"{ratio_text(entry['instructions'])} {entry['case']}" if entry else ""


def _generation(rows: Sequence[_Row]) -> RenderableType:
    """Seconds per stage, and the total as a multiple of the first case's beside what it should follow."""
    stages = list(rows[0]["seconds"])
    columns = ["<case", "<kernels", "layers", "weights, B", "C, B", *(f"{stage}, s" for stage in stages)]
    table = _table("Writing C (seconds of this computer)", [*columns, "x seconds", "x weights", "x layers"])
    for row in _with_gaps(table, rows):
        cells = [row["case"] if row["first"] else "", row["kernels"]]
        cells += [_number(row[key]) for key in ("layer_count", "weight_bytes", "c_bytes")]
        cells += [f"{row['seconds'][stage]:.3f}" for stage in stages]
        cells += [ratio_text(row["growth"][key]) for key in ("total", "weight_bytes", "layer_count")]
        table.add_row(*cells)
    return table


def _failures(rows: Sequence[_Row]) -> RenderableType:
    table = _table("Failed", ["<case", "<kernels", "<compiler", "why"])
    table.columns[-1].justify = "left"
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
    notes += [f"Published by others: {source}." for source in report["sources"]]
    return [Text(note, style="dim") for note in notes]


def _by_case(rows: Sequence[_Row]) -> dict[tuple[str, str], list[_Row]]:
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row["suite"], row["case"]), []).append(row)
    return groups


def _with_gaps(table: Table, rows: Sequence[_Row]) -> Iterable[_Row]:
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
