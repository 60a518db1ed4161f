"""Accuracy against cost of networks, from the rows of suite `pruned`: a plot, and its findings as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from examples.studies.plots import Line, accuracy_svg
from tinygen.bench.figures import spread_text
from tinygen.bench.suites import Section

_Row = dict[str, Any]

COSTS = {"flash_bytes": "flash, KiB", "ram_bytes": "RAM, KiB", "cycles_predicted": "predicted cycles, thousands"}
_DENSE = "dense"
_UNIT = {"flash_bytes": 1024, "ram_bytes": 1024, "cycles_predicted": 1000}
_MARKERS = "osD^vP"
_TICKS = (0, 20, 40, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99, 100)
_SLACK = 0.01
"""A method may leave this share of all weights more than its baseline, and still be compared with it."""


def sections(rows: Sequence[_Row]) -> list[Section]:
    """The plot and its findings, of rows that were measured."""
    mine = curve_rows([row for row in rows if not row["error"]])
    if not mine:
        return []
    note = (
        "Mean and standard deviation of accuracy over the seeds; flash, RAM and cycles of the first seed's network "
        f"({mine[0]['kernels']}, {mine[0]['toolchain']}). Stars are not pruned; random baselines are dashed; the axis "
        "of accuracy is logarithmic in the errors."
    )
    picture = partial(curves_svg, mine)
    return [Section("Accuracy against flash, RAM and cycles", note, statements=statements(mine), picture=picture)]


def curve_rows(rows: Sequence[_Row]) -> list[_Row]:
    """Rows that belong to a curve, of the first kernel family and compiler among them."""
    found = [row for row in rows if "method" in row]
    return [row for row in found if all(row[key] == found[0][key] for key in ("kernels", "toolchain"))]


@dataclass(frozen=True)
class Comparison:
    """Methods of one level and ratio, compared with their random baseline.

    Attributes:
        better: rows of methods whose mean is above the baseline's by more than the spread of the difference.
        others: rows of those that are not.
        larger: rows that leave more weights than the baseline, and are not compared.
    """

    level: str
    ratio: float
    random: _Row
    better: Sequence[_Row]
    others: Sequence[_Row]
    larger: Sequence[_Row]


def comparisons(rows: Sequence[_Row]) -> list[Comparison]:
    """A comparison for every random baseline that was trained, with those of its level and ratio."""
    found = []
    mine = curve_rows(rows)
    for random in mine:
        if not random["random"]:
            continue
        key = (random["level"], random["ratio"])
        rivals = [row for row in mine if (row["level"], row["ratio"]) == key and not row["random"]]
        fair = [row for row in rivals if row["live_weights"] <= random["live_weights"] + _SLACK]
        better = [row for row in fair if row["accuracy"] - random["accuracy"] > _spread(row, random)]
        others = [row for row in fair if row not in better]
        larger = [row for row in rivals if row not in fair]
        found.append(Comparison(*key, random, _best_first(better), _best_first(others), larger))
    return found


def _spread(row: _Row, other: _Row) -> float:
    """The standard deviation of the difference of two accuracies."""
    return math.hypot(row["accuracy_spread"], other["accuracy_spread"])


def _best_first(rows: Sequence[_Row]) -> list[_Row]:
    return sorted(rows, key=lambda row: -row["accuracy"])


def statements(rows: Sequence[_Row]) -> list[str]:
    """Of every level and ratio, which methods are better than chance, and which are not."""
    return [_sentence(found) for found in comparisons(rows)]


def _sentence(found: Comparison) -> str:
    random = found.random
    text = f"{_capital(found.level)}, {100 * found.ratio:.0f} %: {random['method']} {spread_text(random, 'accuracy')}. "
    if len(random["seeds"]) < 2:
        return f"{text}One seed has no spread: nothing is said about the others."
    if not found.better and not found.others:
        text += "No method to compare with it."
    elif found.better:
        best = found.better[0]
        gain = best["accuracy"] - random["accuracy"]
        text += f"The best, {best['method']} {spread_text(best, 'accuracy')}, beats it by {gain:.2f}, more than the "
        text += f"spread of the difference ({_spread(best, random):.2f})."
        if len(found.better) > 1:
            text += f" So {_do(found.better[1:])}: {_names(found.better[1:])}."
        if found.others:
            text += f" The random baseline does as well as {_names(found.others)}."
    else:
        best = found.others[0]
        text += f"It does as well as the best, {best['method']} {spread_text(best, 'accuracy')}: the difference is "
        text += f"{best['accuracy'] - random['accuracy']:+.2f}, its spread {_spread(best, random):.2f}."
        if len(found.others) > 1:
            text += f" It does as well as {_names(found.others[1:])}, too."
    if found.larger:
        text += f" Not compared, as more weights are left: {_names(found.larger)}."
    return text + _aside(found)


def _aside(found: Comparison) -> str:
    """What the methods gave before training, and how far their scores can be had again."""
    rows = [*found.better, *found.others, found.random]
    before = [f"{row['method']} {row['accuracy_before']:.1f}" for row in rows if row.get("accuracy_before") is not None]
    repeated = [f"{row['method']} {row['repeatability']:.2f}" for row in rows if row.get("repeatability") is not None]
    text = f" Before fine-tuning: {', '.join(before)}." if before else ""
    if repeated:
        text += f" Rank correlation of the scores from two halves of the samples: {', '.join(repeated)}."
    return text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _do(rows: Sequence[_Row]) -> str:
    return "does" if len(rows) == 1 else "do"


def _names(rows: Sequence[_Row]) -> str:
    return ", ".join(row["method"] for row in rows)


def curves_svg(rows: Sequence[_Row]) -> str | None:
    """Accuracy against flash, RAM and predicted cycles, a line per method with ids like `flash_bytes:taylor`.

    Lines begin at the network that is not pruned, a star. Random baselines are dashed.
    """
    good = [row for row in curve_rows(rows) if not row["error"]]
    try:
        lines = [_plotted(method, _points(good, method), look) for method, look in _looks(good).items()]
    except ModuleNotFoundError:
        return None
    return accuracy_svg(lines, COSTS, (16, 7), partial(_scale, good))


def _plotted(method: str, rows: Sequence[_Row], look: Mapping[str, Any]) -> Line:
    costs = {cost: [row[cost] / _UNIT[cost] for row in rows] for cost in COSTS}
    return Line(method, costs, [row["accuracy"] for row in rows], [row["accuracy_spread"] for row in rows], look)


def _scale(rows: Sequence[_Row], panel: Any) -> None:
    """Logarithmic in the errors, since networks that hardly learn would compress all others into one line."""
    panel.set_yscale("function", functions=(_height, _accuracy))
    low = min((row["accuracy"] - row["accuracy_spread"] for row in rows), default=0.0)
    high = max((row["accuracy"] + row["accuracy_spread"] for row in rows), default=100.0)
    panel.set_yticks([tick for tick in _TICKS if low <= tick <= high])


def _height(accuracy: np.ndarray) -> np.ndarray:
    return -np.log(101 - np.minimum(accuracy, 100))


def _accuracy(height: np.ndarray) -> np.ndarray:
    return 101 - np.exp(-height)


def _looks(rows: Sequence[_Row]) -> dict[str, dict[str, Any]]:
    """Colours by method, markers by level; random baselines dashed."""
    from matplotlib import colormaps

    first = {row["method"]: row for row in reversed(rows)}
    levels = list(dict.fromkeys(row["level"] for row in rows if row["level"] != _DENSE))
    colours = [colormaps[name](place) for name, count in (("tab10", 10), ("Dark2", 8)) for place in range(count)]
    looks: dict[str, dict[str, Any]] = {}
    for place, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        row = first[method]
        look: dict[str, Any] = {"color": colours[place % len(colours)]}
        if row["level"] == _DENSE:
            look |= {"marker": "*", "markersize": 14, "linestyle": "none", "zorder": 5}
        else:
            look |= {"marker": _MARKERS[levels.index(row["level"]) % len(_MARKERS)], "markersize": 5}
            look |= {"linestyle": "--", "color": "black", "alpha": 0.7} if row["random"] else {"linestyle": "-"}
        looks[method] = look
    return looks


def _points(rows: Sequence[_Row], method: str) -> list[_Row]:
    """The rows of a method, behind that of the network which it prunes, the one on the same codes."""
    mine = [row for row in rows if row["method"] == method]
    whole = [row for row in rows if row["level"] == _DENSE and row["encoding"] == mine[0]["encoding"]]
    return mine if mine[0]["level"] == _DENSE else sorted([*whole, *mine], key=lambda row: row["ratio"])
