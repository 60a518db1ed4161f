"""report.html of `tinygen hil`: one self-contained page, its plots inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygen.builds.decisions import path_text
from tinygen.builds.pages import COLOURS, page_environment
from tinygen.hil.device import PREDICTED

_WIDTH, _LEFT, _RIGHT, _PLOT, _BAR, _GAP = 1000, 60, 20, 220, 15, 5
_NAMES, _VALUES = 300, 220
_MOST_BINS = 40
_SHOWN = 20


def render_hil(report: Mapping[str, Any]) -> str:
    """The page for a report; see `tinygen.hil.report` for its keys."""
    return (
        page_environment()
        .get_template("hil.html.j2")
        .render(
            r=report,
            parts=[
                {
                    "title": f"Switch {part['switch']}" if part["switch"] else "Results",
                    "cards": _cards(part),
                    "histogram": _histogram(part),
                    "paths": _paths(part.get("paths", ())),
                    "layers": _layers(part["layers"]),
                    "energies": _energies(part["energy"]),
                    "wrong": [row for row in part["rows"] if not (row["matches"] and row["stable"])][:_SHOWN],
                    "incidents": part["incidents"][:_SHOWN],
                    "more": max(len(part["incidents"]) - _SHOWN, 0),
                    "p": part,
                }
                for part in report["switches"]
            ],
        )
    )


def _cards(part: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, value); every figure of time or energy names its source."""
    cards = [
        ("inputs with a result", f"{part['completed']:,} of {part['planned']:,}"),
        ("differ from the semantics", f"{part['mismatches']:,}"),
    ]
    if part["accuracy"]:
        found = part["accuracy"]
        cards.append((f"accuracy, {found['correct']:,} of {found['of']:,} right", f"{100 * found['accuracy']:.2f} %"))
    if part["latency"]:
        latency = part["latency"]
        cards.append((f"median latency, {latency['source']}", time_text(latency["microseconds"]["median"])))
        cards.append((f"median cycles, {latency['source']}", f"{latency['cycles']['median']:,.0f}"))
    for energy in part["energy"]:
        cards.append((f"energy per inference, {energy['source']}", energy_text(energy)))
    memory = part["memory"]
    if memory["stack_used_bytes"] is not None:
        of = f" of {memory['stack_bytes']:,}" if memory["stack_bytes"] else ""
        cards.append(("deepest stack, bytes", f"{memory['stack_used_bytes']:,}{of}"))
    if memory["arena_used_bytes"] is not None:
        cards.append(("arena written, bytes", f"{memory['arena_used_bytes']:,} of {memory['arena_bytes']:,}"))
    return cards


def time_text(microseconds: float) -> str:
    """12.345 ms, or 12.3 µs."""
    return f"{microseconds / 1e3:,.3f} ms" if microseconds >= 1000 else f"{microseconds:,.1f} µs"


def energy_text(energy: Mapping[str, Any]) -> str:
    """123.4 µJ (86.0 to 160.0), with the interval where there is one."""
    interval = energy.get("interval")
    text = f"{energy['microjoules']:,.1f} µJ"
    return f"{text} ({interval[0]:,.1f} to {interval[1]:,.1f})" if interval else text


def _histogram(part: Mapping[str, Any]) -> dict[str, Any] | None:
    """Histogram of inference times; None if too few were timed."""
    latency = part["latency"]
    cycles = [row["cycles"] for row in part["rows"] if row["cycles"] is not None]
    if latency is None or len(cycles) < 2:
        return None
    times = np.asarray(cycles, np.float64) / latency["clock_hz"] * 1e6
    bins = min(_MOST_BINS, max(int(np.sqrt(len(times))), 1)) if times.max() > times.min() else 1
    counts, edges = np.histogram(times, bins)
    low, high = float(edges[0]), float(edges[-1])
    width = (_WIDTH - _LEFT - _RIGHT) / bins

    def x_of(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    bars = []
    for index, count in enumerate(counts.tolist()):
        tall = _PLOT * count / int(counts.max())
        title = f"{edges[index]:,.3f} to {edges[index + 1]:,.3f} µs: {count:,} inferences"
        bars.append(
            {
                "x": round(_LEFT + index * width, 1),
                "y": round(_PLOT - tall + 10, 1),
                "w": round(width - 1, 1),
                "h": round(tall, 1),
                "title": title,
            }
        )
    figures = latency["microseconds"]
    marks = [{"x": x_of(figures[key]), "text": f"{key} {figures[key]:,.1f}"} for key in ("median", "p99")]
    return {
        "bars": bars,
        "marks": marks if bins > 1 else [],
        "width": _WIDTH,
        "height": _PLOT + 34,
        "base": _PLOT + 10,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "low": f"{low:,.2f} µs",
        "high": f"{high:,.2f} µs",
        "most": f"{int(counts.max()):,}",
        "colour": COLOURS[0],
    }


def _paths(paths: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The share of inputs on each path through the branches, and its cost."""
    most = max((path["cycles"]["median"] for path in paths if path["cycles"]), default=0) or 1
    rows = []
    for path in paths:
        cycles = path["cycles"]["median"] if path["cycles"] else 0
        rows.append(
            {
                "name": path_text(path["branches"]),
                "share": round(100 * path["share"], 2),
                "cost": round(100 * cycles / most, 2),
                "text": f"{cycles:,.0f} cycles" if path["cycles"] else "",
            }
        )
    return rows


def _layers(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """A bar per layer."""
    if not layers:
        return None
    most, total = (f(layer["microseconds"] for layer in layers) or 1.0 for f in (max, sum))
    bars = []
    for index, layer in enumerate(layers):
        share = 100 * layer["microseconds"] / total
        width = (_WIDTH - _NAMES - _VALUES) * layer["microseconds"] / most
        name, spent = layer["name"], time_text(layer["microseconds"])
        bars.append(
            {
                "y": _GAP + index * (_BAR + _GAP),
                "w": round(max(width, 1.0), 1),
                "text": f"{spent}, {layer['cycles']:,} cycles ({share:.1f} %)",
                "title": name,
                "name": name if len(name) <= 44 else f"...{name[-42:]}",
            }
        )
    return {
        "bars": bars,
        "width": _WIDTH,
        "height": 2 * _GAP + len(layers) * (_BAR + _GAP),
        "left": _NAMES,
        "bar": _BAR,
        "colour": COLOURS[2],
        "source": layers[0]["source"],
    }


def _energies(energies: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """A bar with its interval per source; predicted and measured energies have different colours."""
    if not energies:
        return None
    most = max((energy.get("interval") or [0, energy["microjoules"]])[1] for energy in energies) or 1.0
    scale = (_WIDTH - _NAMES - _VALUES) / most
    bars = []
    for index, energy in enumerate(energies):
        low, high = energy.get("interval") or [energy["microjoules"]] * 2
        bars.append(
            {
                "y": _GAP + index * (_BAR + _GAP),
                "w": round(energy["microjoules"] * scale, 1),
                "name": energy["source"],
                "text": energy_text(energy),
                "low": round(_NAMES + low * scale, 1),
                "high": round(_NAMES + high * scale, 1),
                "colour": COLOURS[1] if energy["source"] == PREDICTED else COLOURS[4],
            }
        )
    return {"bars": bars, "width": _WIDTH, "height": 2 * _GAP + len(bars) * (_BAR + _GAP), "left": _NAMES, "bar": _BAR}
