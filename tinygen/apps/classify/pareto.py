"""The Pareto front of networks, and its plot: accuracy against energy, and against flash."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tinygen.apps.classify.tested import Row
from tinygen.errors import TinygenError

_COLOURS = ("#2f6fb4", "#d9772b", "#3f9455", "#a34fb0", "#c8434f", "#7d8a2e", "#2a9d9d", "#8c6450")
_GREY, _INK = "#8b949e", "#26323d"
_INCHES = (13.0, 6.2)
_DPI = 150
_PLAIN_AREA = 90.0
_CEILING = 100.4
"""Accuracies are drawn by the logarithm of what they lack to this: most networks stand close under 100 %."""
_FRONT: dict[str, Any] = {"color": _INK, "linewidth": 1.6, "alpha": 0.55}
_FLOAT: dict[str, Any] = {"color": _GREY, "linestyle": (0, (5, 4)), "linewidth": 1.2}
_HALO: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.6}
_TICKS = (10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 97.5, 98, 98.5, 99, 99.5, 100)
_PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (2, 2), (-2, 2), (2, -2), (-2, -2))
"""Where a name may stand: right, left, above, below, in the corners, farther out."""
_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Axis:
    """An axis of costs.

    Attributes:
        key: attribute of `Row`.
        title: of the axis.
        divisor: converts the attribute to the axis' unit.
    """

    key: str
    title: str
    divisor: float = 1.0

    def of(self, row: Row) -> float | None:
        value = getattr(row, self.key)
        return None if value is None else float(value) / self.divisor


FLASH = Axis("flash_bytes", "flash of the firmware, KiB", 1024)


def cost_axis(rows: Sequence[Row]) -> Axis | None:
    """Energy if it is known for all rows, else latency if that is; else None."""
    source = rows[0].source if rows else ""
    for axis in (
        Axis("microjoules", "energy per inference, µJ (predicted)"),
        Axis("milliseconds", f"latency, ms ({source})"),
    ):
        if rows and all(axis.of(row) is not None for row in rows):
            return axis
    return None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the Pareto-optimal points in ascending order of cost.

    Args:
        points: (cost, gain). A point dominates another if its cost is no higher and its gain no lower, and one of the
            two is better; so equal points do not dominate each other.
    """
    front = [
        index
        for index, (cost, gain) in enumerate(points)
        if not any(c <= cost and g >= gain and (c < cost or g > gain) for c, g in points)
    ]
    return sorted(front, key=lambda index: (points[index][0], index))


def front_of(rows: Sequence[Row], axis: Axis | None) -> list[Row]:
    """Rows that are Pareto-optimal in accuracy and cost; empty if either is unknown."""
    if axis is None or any(row.accuracy is None or axis.of(row) is None for row in rows):
        return []
    points = [(axis.of(row) or 0.0, row.accuracy or 0.0) for row in rows]
    return [rows[index] for index in pareto_front(points)]


def need_matplotlib() -> None:
    """
    Raises:
        TinygenError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise TinygenError(
            "matplotlib, which draws the picture, is not installed", fix="pip install 'tinygen[classify]'"
        ) from error


def draw(rows: Sequence[Row], title: str, float_accuracy: float | None = None) -> dict[str, bytes]:
    """The plot as "png" and "svg": accuracy against cost, marks sized by flash; and accuracy against flash.

    Marks of one build have one colour. The line is the Pareto front; whiskers are the standard error of an accuracy
    measured on the given number of inputs.

    Args:
        rows: with accuracies.
        title: of the plot.
        float_accuracy: of the float network, 0 to 1, drawn as a horizontal line.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "tinygen",
        "font.size": 10.5,
        "text.color": _INK,
        "axes.edgecolor": _GREY,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    axes = [axis for axis in (cost_axis(rows), FLASH) if axis and all(axis.of(row) is not None for row in rows)]
    names = dict.fromkeys(row.choice for row in rows)
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}
    with rc_context(style):
        figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        panels = figure.subplots(1, max(len(axes), 1), sharey=True, squeeze=False)[0]
        plots = [_Panel(panel, rows, axis, colours) for panel, axis in zip(panels, axes, strict=False)]
        for plot in plots:
            plot.draw(float_accuracy)
        panels[0].set_ylabel(f"accuracy on the board, % of {rows[0].inputs:,} inputs")
        figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold")
        _legend(figure, colours, float_accuracy)
        figure.canvas.draw()  # positions are known only after drawing
        for plot in plots:
            plot.label()
        return {kind: _saved(figure, kind) for kind in ("png", "svg")}


def _saved(figure: Any, kind: str) -> bytes:
    """The file's bytes, without dates and versions, so that the same figures give the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    content = file.getvalue()
    return content[content.index(b"<svg") :] if kind == "svg" else content


def _legend(figure: Any, colours: Mapping[str, str], float_accuracy: float | None) -> None:
    from matplotlib.lines import Line2D

    entries = [Line2D([], [], label="Pareto front: nothing here beats it", **_FRONT)]
    if float_accuracy is not None:
        entries.append(Line2D([], [], label=f"float, PyTorch: {100 * float_accuracy:.1f} %", **_FLOAT))
    for name, colour in colours.items():
        entries.append(Line2D([], [], linestyle="none", marker="o", markersize=8, color=colour, label=name))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False)


@dataclass(frozen=True)
class _Panel:
    """One plot: accuracy against an axis."""

    panel: Any
    rows: Sequence[Row]
    axis: Axis
    colours: Mapping[str, str]

    def draw(self, float_accuracy: float | None) -> None:
        panel, front = self.panel, front_of(self.rows, self.axis)
        panel.set_xscale("log")
        panel.set_yscale("function", functions=(_height, _percent_at))
        panel.plot(
            [self._x(row) for row in front],
            [_percent(row) for row in front],
            zorder=2,
            drawstyle="steps-post",
            **_FRONT,
        )
        if float_accuracy is not None:
            panel.axhline(100 * float_accuracy, zorder=1, **_FLOAT)
        for row in sorted(self.rows, key=self._area, reverse=True):  # small ones lie on large ones
            colour, on_front = self.colours[row.choice], row in front
            panel.errorbar(
                self._x(row),
                _percent(row),
                yerr=_standard_error(row),
                fmt="none",
                ecolor=colour,
                elinewidth=1,
                alpha=0.3,
                zorder=1,
            )
            panel.scatter(
                self._x(row),
                _percent(row),
                s=self._area(row),
                color=colour,
                zorder=4 if on_front else 3,
                edgecolors=_INK if on_front else "white",
                linewidths=1.5 if on_front else 0.8,
                alpha=0.95 if on_front else 0.7,
            )
        _round_ticks(panel.xaxis, [self._x(row) for row in self.rows])
        self._accuracy_ticks()
        panel.set_xlabel(self.axis.title + (", area by flash" if self.axis != FLASH else ""))
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)

    def _x(self, row: Row) -> float:
        return self.axis.of(row) or 0.0

    def _area(self, row: Row) -> float:
        """Area of a mark in square points: by flash, unless the axis shows flash."""
        if self.axis == FLASH or row.flash_bytes is None:
            return _PLAIN_AREA
        return min(max(row.flash_bytes / 1024 * 3.2, 35.0), 700.0)

    def _accuracy_ticks(self) -> None:
        from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

        low = min(_percent(row) - _standard_error(row) for row in self.rows)
        high = min(max(_percent(row) + _standard_error(row) for row in self.rows) + 0.3, 100.0)
        bottom = low - 0.08 * (_CEILING - low)
        self.panel.set_ylim(bottom, high)
        self.panel.yaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if bottom <= tick <= high]))
        self.panel.yaxis.set_minor_locator(NullLocator())
        self.panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

    def label(self) -> None:
        """Writes a name beside each mark, at the place with the least overlap with marks, names and the front.

        All switches of a build have the same flash: in that plot only the most accurate one is named.
        """
        panel = self.panel
        scale = panel.figure.dpi / 72
        marks = {row.name: self._box(row, scale) for row in self.rows}
        taken = [*marks.values(), *self._line_boxes(front_of(self.rows, self.axis))]
        for row, name in sorted(self._names(), key=lambda pair: marks[pair[0].name]):
            size = 0.62 * 9 * len(name) * scale, 11 * scale
            boxes = [_beside(marks[row.name], place, *size, 3 * scale) for place in _PLACES]
            costs = [
                sum(_overlap(box, other) for other in taken) + _outside(panel, box) + 0.01 * size[0] * index
                for index, box in enumerate(boxes)
            ]
            box = boxes[costs.index(min(costs))]
            taken.append(box)
            x, y = panel.transData.inverted().transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
            panel.text(
                x,
                y,
                name,
                ha="center",
                va="center",
                fontsize=9,
                color=self.colours[row.choice],
                zorder=6,
                fontweight="bold",
                bbox=_HALO,
            )

    def _names(self) -> list[tuple[Row, str]]:
        if self.axis != FLASH:
            return [(row, row.name) for row in self.rows]
        best: dict[str, Row] = {}
        for row in self.rows:
            if row.choice not in best or (row.accuracy or 0) > (best[row.choice].accuracy or 0):
                best[row.choice] = row
        counts = {name: sum(row.choice == name for row in self.rows) for name in best}
        return [(row, name if counts[name] == 1 else f"{name}: {counts[name]} switches") for name, row in best.items()]

    def _box(self, row: Row, scale: float) -> _Box:
        x, y = self.panel.transData.transform((self._x(row), _percent(row)))
        radius = math.sqrt(self._area(row) / math.pi) * scale
        return x - radius, y - radius, x + radius, y + radius

    def _line_boxes(self, front: Sequence[Row]) -> list[_Box]:
        """Boxes of the front's steps, as wide as the line."""
        points = [self.panel.transData.transform((self._x(row), _percent(row))) for row in front]
        boxes: list[_Box] = []
        for (x0, y0), (x1, y1) in pairwise(points):
            boxes += [(x0, y0 - 2, x1, y0 + 2), (x1 - 2, min(y0, y1), x1 + 2, max(y0, y1))]
        return boxes


def _height(percent: Any) -> Any:
    return -np.log(np.maximum(_CEILING - np.asarray(percent, np.float64), 1e-3))


def _percent_at(height: Any) -> Any:
    return _CEILING - np.exp(-np.asarray(height, np.float64))


def _percent(row: Row) -> float:
    return 100 * (row.accuracy or 0.0)


def _standard_error(row: Row) -> float:
    share = row.accuracy or 0.0
    return 100 * math.sqrt(share * (1 - share) / row.inputs)


def _round_ticks(axis: Any, values: Sequence[float]) -> None:
    """Sets ticks at round numbers in plain digits: a logarithmic axis over less than a decade has hardly any itself."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    room = max((max(values) / min(values)) ** 0.16, 1.3)  # for names beside the outermost
    low, high = min(values) / room, max(values) * room
    axis.axes.set_xlim(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 1.5, 2, 3, 5, 7) if high / low < 30 else (1, 3)
    ticks = [factor * 10.0**decade for decade in decades for factor in factors]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))


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
