"""What networks that decide cost and answer at each threshold, out of the rows of suite `branches`: table and picture.

An inference costs the same for every input, and something for each part that the input goes through: cycles are
fitted to those that the board took for digits of different ways, by least squares, and hold for all digits then.
Accuracies are compared seed by seed: the mean difference, and its 95 % confidence interval by Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import Any

import numpy as np

from examples.studies.paired import Difference, difference
from examples.studies.plots import Line, accuracy_svg
from tinygen.bench.figures import markdown_table
from tinygen.bench.suites import Section

_Row = dict[str, Any]

STATIC = "static"
CLOSE = 0.5
"""Points of accuracy."""


@dataclass(frozen=True)
class PartCycles:
    """What a network's parts cost.

    Attributes:
        always: cycles of every inference.
        parts: more of them, for each part that runs.
        error: the largest deviation from a measured inference, as a share of it.
    """

    always: float
    parts: Sequence[float]
    error: float

    def of(self, ran: Sequence[int]) -> float:
        """Cycles of an inference."""
        return self.always + sum(cycles for cycles, runs in zip(self.parts, ran, strict=True) if runs)

    @property
    def worst(self) -> float:
        """Of an input for which everything runs."""
        return self.always + sum(max(cycles, 0.0) for cycles in self.parts)


def part_cycles(samples: Sequence[Sequence[int]], cycles: Sequence[int]) -> PartCycles | None:
    """
    Args:
        samples: which parts ran, 0 or 1, of each inference.
        cycles: that it took.

    Returns:
        None where the inferences do not tell the parts apart: one never runs, or always.
    """
    ran = np.array([[1, *row] for row in samples], np.float64)
    if np.linalg.matrix_rank(ran) < ran.shape[1]:
        return None
    measured = np.array(cycles, np.float64)
    found = np.linalg.lstsq(ran, measured, rcond=None)[0]
    error = float(np.max(np.abs(ran @ found - measured) / measured))
    return PartCycles(float(found[0]), found[1:].tolist(), error)


@dataclass(frozen=True)
class Point:
    """A network at a threshold; a static one at none.

    Attributes:
        case: the row's.
        accuracies: in %, by seed.
        mean, p95, worst: cycles: over the digits of all seeds, and of an input for which everything runs.
    """

    case: str
    kind: str
    threshold: float | None
    accuracies: Sequence[float]
    mean: float
    p95: float
    worst: float

    @property
    def accuracy(self) -> float:
        return fmean(self.accuracies)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


def branch_rows(rows: Sequence[_Row]) -> list[_Row]:
    """Rows of the suite that were measured, of the first kernel family and compiler among them."""
    found = [row for row in rows if "branches" in row and not row["error"] and "sample_cycles" in row]
    return [row for row in found if all(row[key] == found[0][key] for key in ("kernels", "toolchain", "board"))]


def points_of(row: _Row) -> list[Point]:
    """All thresholds of a network; none where its parts' cycles are not known."""
    about = row["branches"]
    if not about["parts"]:
        # Experts differ by the cache at most: the mean over the digits that the board got.
        cycles, most = fmean(row["sample_cycles"]), max(row["sample_cycles"])
        return [Point(row["case"], about["kind"], None, about["accuracies"], cycles, most, most)]
    costs = part_cycles(about["samples"], row["sample_cycles"])
    return [_point(row, costs, entry) for entry in about["points"]] if costs else []


def _point(row: _Row, costs: PartCycles, entry: dict[str, Any]) -> Point:
    cycles = np.repeat([costs.of(way["ran"]) for way in entry["ways"]], [way["count"] for way in entry["ways"]])
    p95 = float(np.quantile(cycles, 0.95, method="inverted_cdf"))
    kind = row["branches"]["kind"]
    return Point(row["case"], kind, entry["threshold"], entry["accuracies"], float(cycles.mean()), p95, costs.worst)


@dataclass(frozen=True)
class Compared:
    """A point beside static networks.

    Attributes:
        same_worst, same_mean: the static network whose cycles are nearest to the point's worst case, and to its mean,
            as a ratio; those that learnt from labels alone.
        beside_worst, beside_mean: the point's accuracy less theirs.
    """

    point: Point
    same_worst: Point
    same_mean: Point
    beside_worst: Difference
    beside_mean: Difference


def compared(rows: Sequence[_Row]) -> list[Compared]:
    """Every point of every network that decides, in order; empty without static networks."""
    mine = branch_rows(rows)
    plain = [row for row in mine if row["branches"]["kind"] == STATIC and not row["branches"]["asks"]]
    static = [point for row in plain for point in points_of(row)]
    if not static:
        return []
    found = []
    for row in mine:
        if row["branches"]["kind"] != STATIC:
            for point in points_of(row):
                worst, mean = _nearest(static, point.worst), _nearest(static, point.mean)
                beside = [difference(point.accuracies, other.accuracies) for other in (worst, mean)]
                found.append(Compared(point, worst, mean, *beside))
    return found


def _nearest(static: Sequence[Point], cycles: float) -> Point:
    return min(static, key=lambda point: abs(math.log(point.mean / cycles)))


def add_points(rows: Sequence[_Row]) -> None:
    """Gives rows `operating`: each threshold's accuracy and cycles, and differences from static networks.

    Static networks have one point, at no threshold.
    """
    beside = {(one.point.case, one.point.threshold): one for one in compared(rows)}
    for row in branch_rows(rows):
        row["operating"] = [_entry(point, beside.get((point.case, point.threshold))) for point in points_of(row)]


def _entry(point: Point, one: Compared | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"threshold": point.threshold, "accuracy": point.accuracy, "accuracy_spread": point.spread}
    entry |= {"mean_cycles": point.mean, "p95_cycles": point.p95, "worst_cycles": point.worst}
    if one is not None:
        pairs = {"same_worst": (one.same_worst, one.beside_worst), "same_mean": (one.same_mean, one.beside_mean)}
        for key, (static, beside) in pairs.items():
            entry[key] = {"case": static.case, "difference": beside.mean, "verdict": beside.verdict}
            # JSON has no infinity: one seed has no interval.
            entry[key]["margin"] = beside.margin if math.isfinite(beside.margin) else None
    return entry


def sections(rows: Sequence[_Row]) -> list[Section]:
    """Tables, what they say, and the plot."""
    mine = branch_rows(rows)
    if not mine:
        return []
    note = (
        "Mean and standard deviation of accuracy over the seeds, at every threshold; cycles over all test digits, from "
        f"what each part of the first seed's network costs ({mine[0]['board']}, {mine[0]['kernels']}, "
        f"{mine[0]['toolchain']}). Static networks are black."
    )
    picture = partial(branches_svg, mine)
    tables, texts = [branches_markdown(mine)], branch_statements(mine)
    return [Section("Accuracy against cycles of dynamic networks", note, tables, texts, picture)]


def branches_markdown(rows: Sequence[_Row]) -> str:
    """Tables of the documentation: every network and threshold, and what training and memory took; "" without any."""
    mine = branch_rows(rows)
    if not mine:
        return ""
    heads = ("network", "threshold", "accuracy, %", "mean, k cycles", "95 %", "worst", *_BESIDE)
    beside = {(one.point.case, one.point.threshold): one for one in compared(rows)}
    points = [_cells(point, beside.get((point.case, point.threshold))) for row in mine for point in points_of(row)]
    return f"{markdown_table(heads, points)}\n\n{_networks(mine)}"


_BESIDE = ("beside the static one of the same worst", "beside that of the same mean")


def _cells(point: Point, one: Compared | None) -> list[str]:
    cells = [point.case, "" if point.threshold is None else f"{point.threshold:g}", _mean_text(point.accuracies)]
    cells += [f"{value / 1000:,.0f}" for value in (point.mean, point.p95, point.worst)]
    if one is None:
        return [*cells, "", ""]
    return [*cells, f"{one.same_worst.case}: {one.beside_worst}", f"{one.same_mean.case}: {one.beside_mean}"]


def _networks(rows: Sequence[_Row]) -> str:
    """Exits, teachers and memory: a line per network."""
    lines = []
    for row in rows:
        about = row["branches"]
        exits = ", ".join(_mean_text(values) for values in about["exits"])
        share = f"{100 * about['asked'] / about['seen']:.1f} %" if about["asked"] else ""
        cells = [row["case"], exits, _teacher(about), share, f"{100 * row['top1_equal']:.1f} %"]
        lines.append([*cells, *(f"{row[key]:,}" for key in ("flash_bytes", "arena_bytes"))])
    heads = ("network", "exits, %", "teacher", "digits that the teacher saw", "as the semantics", "flash", "arena")
    return markdown_table(heads, lines, 3)


def _mean_text(values: Sequence[float]) -> str:
    return f"{fmean(values):.2f} ± {stdev(values) if len(values) > 1 else 0.0:.2f}"


def _teacher(about: dict[str, Any]) -> str:
    own = "its last exit" if about["kind"] == "exits" else ""
    other = {"": "", "query": "asked about mistakes", "full": "asked about every digit"}[about["asks"]]
    return " and one ".join(part for part in (own, other) if part)


def branch_statements(rows: Sequence[_Row]) -> list[str]:
    """What can be said about every network that decides: savings at a tie, and whether it beats equal mean cost."""
    found = compared(rows)
    return [
        _statement(case, [one for one in found if one.point.case == case])
        for case in dict.fromkeys(one.point.case for one in found)
    ]


def _statement(case: str, found: Sequence[Compared]) -> str:
    if len(found[0].point.accuracies) < 2:
        return f"{case}: one seed has no spread, nothing is said about it."
    worst = found[0].same_worst
    # A tie of accuracies that spread widely says little: they must be close, too.
    fair = [one for one in found if one.beside_worst.verdict != "worse" and one.beside_worst.mean >= -CLOSE]
    if fair:
        best = min(fair, key=lambda one: one.point.mean)
        share = 100 * (1 - best.point.mean / worst.mean)
        place = "" if best.point.threshold is None else f" at threshold {best.point.threshold:g}"
        cycles = f"{abs(share):.0f} % {'fewer' if share >= 0 else 'more'} cycles in the mean"
        text = f"{case}{place}: {cycles} than {worst.case}, the static network of the same worst case; accuracy "
        text += f"{best.beside_worst}."
    else:
        text = f"{case}: worse than {worst.case}, the static network of the same worst case, or {CLOSE:g} points below "
        text += "it, everywhere."
    verdicts = [one.beside_mean.verdict for one in found]
    counts = [f"{verdicts.count(word)} {word}" for word in ("better", "tie", "worse")]
    return f"{text} Beside static networks of the same mean cost: {', '.join(counts)} of {len(found)}."


def branches_svg(rows: Sequence[_Row]) -> str | None:
    """Accuracy against mean, 95th percentile and worst-case cycles; lines have the ids `mean:exits`.

    Static networks are black, of the same cycles in all three.
    """
    series: dict[str, list[Point]] = {}
    for row in branch_rows(rows):
        about = row["branches"]
        if about["kind"] != STATIC or not about["asks"]:
            series.setdefault(STATIC if about["kind"] == STATIC else row["case"], []).extend(points_of(row))
    lines = [_plotted(name, points, f"C{number}") for number, (name, points) in enumerate(series.items())]
    labels = {cost: f"{words}, thousands of predicted cycles" for cost, words in _COSTS.items()}
    return accuracy_svg(lines, labels, (14, 4.5))


_COSTS = {"mean": "mean", "p95": "95th percentile", "worst": "worst case"}


def _plotted(name: str, points: Sequence[Point], colour: str) -> Line:
    points = sorted(points, key=lambda point: point.mean)
    costs = {cost: [getattr(point, cost) / 1000 for point in points] for cost in _COSTS}
    look = {"color": "black", "marker": "s"} if name == STATIC else {"color": colour, "marker": "o"}
    accuracies, spreads = [point.accuracy for point in points], [point.spread for point in points]
    return Line(name, costs, accuracies, spreads, look | {"markersize": 4})
