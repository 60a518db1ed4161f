"""report.html of a benchmark: one self-contained page, its plots inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.bench import boards
from tinygen.bench.figures import rate, ratio_text, rounds_otherwise
from tinygen.bench.suites import sections
from tinygen.builds.pages import COLOURS, page_environment

_GREY = "#8b949e"
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP = 1000, 260, 130, 13, 9
_CORE_LIMIT = {"cortex-m4": 2.0, "cortex-m7": 2.0, "cortex-m33": 2.0}
"""8-bit MAC per cycle: one SMLAD, two products of halfwords, issues per cycle (Armv7E-M and Armv8-M DSP extension)."""

_Row = dict[str, Any]
_Value = Callable[[_Row], float | None]
NO_PICTURE = "The picture needs matplotlib: pip install 'tinygen[plot]'"
_OWN = "Each case on a scale of its own."


def render_bench(report: dict[str, Any]) -> str:
    """The page for `BenchReport.as_json()`."""
    environment = page_environment()
    environment.filters["number"] = lambda value: "" if value is None else f"{value:,}"
    environment.filters["multiple"] = ratio_text
    environment.globals["rate"] = rate
    good = [row for row in report["rows"] if row["instructions"] is not None]
    return environment.get_template("bench.html.j2").render(
        r=report,
        suites=list(dict.fromkeys(row["suite"] for row in report["rows"])),
        legend=[{"name": name, "colour": colour} for name, colour in _series(good).items()],
        charts=_charts(report, good),
        limit=_CORE_LIMIT.get(report["core"]),
        models=[
            {"chart": _layer_chart(group, _series(good)), "layers": _layer_rows(group)}
            for group in _by_case(good)
            if len(group[0]["layers"]) > 1 and group[0]["suite"] != boards.SUITE
        ],
        good=good,
        sections=sections(report["rows"]),
        no_picture=NO_PICTURE,
        failed=[row for row in report["rows"] if row["error"]],
        different=[row for row in good if rounds_otherwise(row)],
    )


def _label(row: _Row) -> str:
    return f"{row['kernels']}, {row['toolchain']}"


def _series(rows: Sequence[_Row]) -> dict[str, str]:
    names = dict.fromkeys(_label(row) for row in rows)
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def _by_case(rows: Sequence[_Row]) -> list[list[_Row]]:
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row["suite"], row["case"]), []).append(row)
    return list(groups.values())


@dataclass(frozen=True)
class _Plot:
    """What stands over bars, and how they are drawn.

    Attributes:
        title, note: in words.
        own_scale: each group has its own.
        limit: where a line is drawn.
        digits: behind the point.
    """

    title: str
    note: str
    own_scale: bool = False
    limit: float | None = None
    digits: int = 0

    def text(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


def _charts(report: dict[str, Any], rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """One plot per question, for every suite."""
    charts = []
    limit = _CORE_LIMIT.get(report["core"])
    for suite in dict.fromkeys(row["suite"] for row in rows):
        groups = _by_case([row for row in rows if row["suite"] == suite])
        colours = _series(rows)
        charts += [
            _chart(
                _Plot(f"{suite}: instructions per inference", f"{_OWN} Shorter is better.", own_scale=True),
                groups,
                colours,
                lambda row: row["instructions"],
                published="instructions",
            ),
            _chart(
                _Plot(
                    f"{suite}: MAC per predicted cycle",
                    f"Cycles: {report['cycles_source']}. Longer is better"
                    + (f"; the line is the core's limit, {limit:g}." if limit else "."),
                    limit=limit,
                    digits=3,
                ),
                groups,
                colours,
                _mac_rate,
            ),
            _chart(
                _Plot(
                    f"{suite}: flash without weights, bytes",
                    "Of the whole firmware: start-up, drivers, protocol. Shorter is better.",
                ),
                groups,
                colours,
                lambda row: row["flash_without_weights_bytes"],
                published="flash_without_weights_bytes",
            ),
            _chart(
                _Plot(f"{suite}: arena, bytes", f"{_OWN} Shorter is better.", own_scale=True),
                groups,
                colours,
                lambda row: row["arena_bytes"],
                published="arena_bytes",
            ),
        ]
    return [chart for chart in charts if chart["groups"]]


def _mac_rate(row: _Row) -> float | None:
    return row["macs"] / row["cycles_predicted"] if row["macs"] and row["cycles_predicted"] else None


def _chart(
    plot: _Plot, groups: Sequence[Sequence[_Row]], colours: dict[str, str], value: _Value, *, published: str = ""
) -> dict[str, Any]:
    """Horizontal bars: a group per case, a bar per series, and a grey one for what others published."""
    content = []
    for rows in groups:
        bars = [(_label(row), colours[_label(row)], value(row)) for row in rows]
        theirs = rows[0]["published"] or {}
        if published in theirs:
            bars.append((f"{theirs['who']} (published)", _GREY, theirs[published]))
        content.append((rows[0]["case"], [bar for bar in bars if bar[2]]))
    return _layout(plot, [(name, bars) for name, bars in content if bars])


def _layer_chart(rows: Sequence[_Row], colours: dict[str, str]) -> dict[str, Any]:
    names = dict.fromkeys(layer["name"] for row in rows for layer in row["layers"])
    groups = []
    for name in names:
        bars = [
            (_label(row), colours[_label(row)], layer["instructions"])
            for row in rows
            for layer in row["layers"]
            if layer["name"] == name and layer["instructions"]
        ]
        if bars:
            groups.append((name, bars))
    plot = _Plot(f"{rows[0]['case']}: layers", "Executed instructions per layer. Shorter is better.")
    return _layout(plot, groups)


def _layer_rows(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """Every layer of every family and compiler, the same layer's side by side."""
    names = list(dict.fromkeys(layer["name"] for row in rows for layer in row["layers"]))
    entries = [
        layer | {"kernels": row["kernels"], "toolchain": row["toolchain"]} for row in rows for layer in row["layers"]
    ]
    return sorted(entries, key=lambda entry: names.index(entry["name"]))


def _layout(plot: _Plot, content: Sequence[tuple[str, Sequence[tuple[str, str, Any]]]]) -> dict[str, Any]:
    largest = max([plot.limit or 0.0, *(bar[2] for _, bars in content for bar in bars)], default=0.0) or 1.0
    span = _WIDTH - _LEFT - _RIGHT
    y, groups = _GAP, []
    for name, bars in content:
        scale = span / (max(bar[2] for bar in bars) if plot.own_scale else largest)
        placed = []
        for label, colour, value in bars:
            placed.append(
                {
                    "y": y,
                    "w": round(max(value * scale, 1), 1),
                    "colour": colour,
                    "text": plot.text(value),
                    "title": f"{name}, {label}: {plot.text(value)}",
                }
            )
            y += _BAR
        middle = (placed[0]["y"] + y) / 2 + 4
        groups.append({"label": name if len(name) <= 40 else f"...{name[-38:]}", "y": round(middle, 1), "bars": placed})
        y += _GAP
    line = None if plot.limit is None else round(_LEFT + plot.limit * span / largest, 1)
    return {
        "title": plot.title,
        "note": plot.note,
        "groups": groups,
        "limit_x": line,
        "width": _WIDTH,
        "height": y,
        "left": _LEFT,
        "bar": _BAR - 2,
    }
