"""Which networks nothing else beats, and a picture of all of them: accuracy against energy, and against flash."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.classify.tested import Row
from tinygen.errors import TinygenError

_COLOURS = ("#2f6fb4", "#d9772b", "#3f9455", "#a34fb0", "#c8434f", "#7d8a2e", "#2a9d9d", "#8c6450")
_MARKERS = "osD^vPXh"
_GREY, _INK = "#8b949e", "#26323d"
_INCHES = (13.0, 6.2)
_DPI = 150


@dataclass(frozen=True)
class Axis:
    """What networks cost.

    Attributes:
        key: attribute of `Row`.
        title: of the axis.
        divisor: from the attribute to the axis' unit.
    """

    key: str
    title: str
    divisor: float = 1.0

    def of(self, row: Row) -> float | None:
        value = getattr(row, self.key)
        return None if value is None else float(value) / self.divisor


def cost_axis(rows: Sequence[Row]) -> Axis | None:
    """Energy where it is known of all, else latency; None where that is not known either."""
    source = rows[0].source if rows else ""
    for axis in (
        Axis("microjoules", "energy per inference, µJ (predicted)"), Axis("milliseconds", f"latency, ms ({source})"),
    ):  # fmt: skip
        if rows and all(axis.of(row) is not None for row in rows):
            return axis
    return None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats, from the cheapest to the dearest.

    Args:
        points: (cost, gain). One beats another when it costs no more and gains no less, and one of both is better:
            so equal points do not beat each other.
    """
    front = [
        index for index, (cost, gain) in enumerate(points)
        if not any(c <= cost and g >= gain and (c < cost or g > gain) for c, g in points)
    ]  # fmt: skip
    return sorted(front, key=lambda index: (points[index][0], index))


def front_of(rows: Sequence[Row], axis: Axis | None) -> list[Row]:
    """Rows that no other beats in accuracy and cost; empty where one of both is not known."""
    if axis is None or any(row.accuracy is None or axis.of(row) is None for row in rows):
        return []
    points = [(axis.of(row) or 0.0, row.accuracy or 0.0) for row in rows]
    return [rows[index] for index in pareto_front(points)]


def need_matplotlib() -> None:
    """
    Raises:
        TinygenError: it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise TinygenError(
            "matplotlib, which draws the picture, is not installed", fix="pip install 'tinygen[classify]'"
        ) from error


def draw(rows: Sequence[Row], title: str, float_accuracy: float | None = None) -> dict[str, bytes]:
    """The picture as "png" and "svg": accuracy against cost, the area of a mark by flash; and against flash.

    Marks of one build share colour and shape. The line joins what nothing beats; whiskers are the standard error of an
    accuracy that was counted on so many inputs.

    Args:
        rows: with accuracies.
        title: of the picture.
        float_accuracy: of the float network, 0 to 1: a line across.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none", "svg.hashsalt": "tinygen", "font.size": 10.5, "text.color": _INK,
        "axes.edgecolor": _GREY, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
    }  # fmt: skip
    cost = cost_axis(rows)
    axes = [axis for axis in (cost, Axis("flash_bytes", "flash of the firmware, KiB", 1024)) if axis]
    axes = [axis for axis in axes if all(axis.of(row) is not None for row in rows)]
    with rc_context(style):
        figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        panels = figure.subplots(1, max(len(axes), 1), sharey=True, squeeze=False)[0]
        looks = _looks(rows)
        for panel, axis in zip(panels, axes, strict=False):
            _panel(panel, rows, axis, looks, float_accuracy)
        panels[0].set_ylabel(f"accuracy on the board, % of {rows[0].inputs:,} inputs")
        figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=8, frameon=False)
        return {kind: _saved(figure, kind) for kind in ("png", "svg")}


def _saved(figure: Any, kind: str) -> bytes:
    """Without dates and versions: the same figures give the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    content = file.getvalue()
    return content[content.index(b"<svg") :] if kind == "svg" else content


def _looks(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Colour and shape by choice."""
    names = dict.fromkeys(row.choice for row in rows)
    return {
        name: {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKERS[place % len(_MARKERS)]}
        for place, name in enumerate(names)
    }


def _panel(
    panel: Any, rows: Sequence[Row], axis: Axis, looks: Mapping[str, Mapping[str, Any]], float_accuracy: float | None
) -> None:
    panel.set_xscale("log")
    front = front_of(rows, axis)
    steps = [(axis.of(row), _percent(row)) for row in front]
    panel.plot(
        *zip(*steps, strict=True),
        color=_INK,
        linewidth=1.6,
        alpha=0.55,
        drawstyle="steps-post",
        zorder=2,
        label="Pareto front: nothing beats it",
    )
    if float_accuracy is not None:
        panel.axhline(100 * float_accuracy, color=_GREY, linestyle=(0, (5, 4)), linewidth=1.2, zorder=1,
                      label=f"float, PyTorch: {100 * float_accuracy:.1f} %")  # fmt: skip
    for row in rows:
        share = row.accuracy or 0.0
        panel.errorbar(axis.of(row), 100 * share, yerr=100 * math.sqrt(share * (1 - share) / row.inputs), fmt="none",
                       ecolor=looks[row.choice]["color"], elinewidth=1, alpha=0.28, zorder=1)  # fmt: skip
        on_front = row in front
        panel.scatter(axis.of(row), 100 * share, s=_area(row, axis), **looks[row.choice],
                      edgecolors=_INK if on_front else "white", linewidths=1.5 if on_front else 0.8,
                      alpha=0.95 if on_front else 0.75, zorder=4 if on_front else 3, label=row.choice)  # fmt: skip
    _ticks(panel.xaxis, [axis.of(row) or 1.0 for row in rows])
    panel.set_xlabel(axis.title + (", area by flash" if axis.key != "flash_bytes" else ""))
    panel.grid(alpha=0.25, which="major")
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.14, y=0.12)
    _label(panel, rows, axis, looks)


def _percent(row: Row) -> float:
    return 100 * (row.accuracy or 0.0)


def _area(row: Row, axis: Axis) -> float:
    """Square points: by flash, where the axis says something else."""
    if axis.key == "flash_bytes" or row.flash_bytes is None:
        return 80.0
    return min(max(row.flash_bytes / 1024 * 3.2, 35.0), 700.0)


def _ticks(axis: Any, values: Sequence[float]) -> None:
    """Round numbers in plain digits; a logarithmic axis over less than a decade has hardly any of its own."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(values) / 1.5, max(values) * 1.5
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    dense = high / low < 30
    ticks = [factor * 10.0**decade for decade in decades for factor in ((1, 1.5, 2, 3, 5, 7) if dense else (1, 3))]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))


_PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (2, 2), (-2, 2), (2, -2), (-2, -2))


def _label(panel: Any, rows: Sequence[Row], axis: Axis, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """A name beside each mark, where it covers least of other marks and names."""
    figure = panel.figure
    figure.canvas.draw()  # the layout is known only then
    scale = figure.dpi / 72
    marks = []
    for row in rows:
        x, y = panel.transData.transform((axis.of(row), _percent(row)))
        radius = math.sqrt(_area(row, axis) / math.pi) * scale
        marks.append((x - radius, y - radius, x + radius, y + radius))
    taken = list(marks)
    for row, mark in sorted(zip(rows, marks, strict=True), key=lambda pair: (pair[1][0], pair[1][1])):
        wide, high = (0.6 * 9 * len(row.name) * scale, 11 * scale)
        boxes = [_beside(mark, place, wide, high, 3 * scale) for place in _PLACES]
        costs = [sum(_overlap(box, other) for other in taken) + 0.01 * index + _outside(panel, box)
                 for index, box in enumerate(boxes)]  # fmt: skip
        box = boxes[costs.index(min(costs))]
        taken.append(box)
        x, y = panel.transData.inverted().transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        panel.text(x, y, row.name, ha="center", va="center", fontsize=9, color=looks[row.choice]["color"], zorder=6,
                   fontweight="bold")  # fmt: skip


_Box = tuple[float, float, float, float]


def _beside(mark: _Box, place: tuple[int, int], wide: float, high: float, gap: float) -> _Box:
    """A box of that size next to a mark; `place` says on which side, (2, 2) farther away than (1, 1)."""
    middle_x, middle_y = (mark[0] + mark[2]) / 2, (mark[1] + mark[3]) / 2
    half_x, half_y = (mark[2] - mark[0]) / 2, (mark[3] - mark[1]) / 2
    dx, dy = place
    x = middle_x + (dx and math.copysign(half_x + gap + wide / 2, dx)) * (0.75 if dx and dy else 1)
    y = middle_y + (dy and math.copysign(half_y + gap + high / 2, dy)) * max(abs(dy), 1) * (0.9 if dx and dy else 1)
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def _overlap(a: _Box, b: _Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _outside(panel: Any, box: _Box) -> float:
    edge = panel.bbox
    beyond = max(edge.x0 - box[0], box[2] - edge.x1, edge.y0 - box[1], box[3] - edge.y1)
    return 1e4 if beyond > 0 else 0.0
