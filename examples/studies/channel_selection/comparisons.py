"""What the trained networks of the suite say: tables, and differences that are paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from examples.studies.channel_selection.plans import BRIER, BRIER_PAIRS, DENSE, NAMES, NARROW, PAIRS
from examples.studies.paired import interval
from tinygen.bench.figures import markdown_table

_Row = dict[str, Any]


@dataclass(frozen=True)
class Cycles:
    """Of an inference of one trained network: the mean over test digits, and the most."""

    mean: float
    worst: float


Costs = Mapping[str, Mapping[int, Cycles]]
"""By name and seed. Networks whose cycles depend on no input have those of one seed, which stand for all."""


def at(costs: Mapping[int, Cycles], seed: int) -> Cycles:
    """Those of a seed."""
    return costs[seed] if seed in costs else next(iter(costs.values()))


def compared(rows: Sequence[_Row], first: str, second: str, key: str = "accuracy", digits: int = 2) -> str:
    """The mean difference of two networks over seeds, its interval of 95 %, and what that says."""
    of = {name: {row["seed"]: row[key] for row in rows if row["name"] == name} for name in (first, second)}
    gaps = [of[first][seed] - of[second][seed] for seed in of[first] if seed in of[second]]
    return _said(f"{first} - {second}", gaps, digits)


def _said(what: str, gaps: Sequence[float], digits: int = 2) -> str:
    if len(gaps) < 2:
        return f"{what}: too few seeds"
    found = interval(gaps)
    word = {"tie": "a tie", "better": "more", "worse": "less"}[found.verdict]
    return f"{what}: {found.mean:+.{digits}f} ± {found.margin:.{digits}f}, {word} ({len(gaps)} seeds)"


def against_narrow(rows: Sequence[_Row], costs: Costs) -> list[str]:
    """Each network against narrow ones of the same mean cycles, on a straight line between two of them, paired by seed.

    Networks with more cycles than the dense one are compared with that.
    """
    of = {name: {row["seed"]: row["accuracy"] for row in rows if row["name"] == name} for name in costs}
    known = sorted(({DENSE, *NARROW}) & set(costs), key=lambda name: at(costs[name], 0).mean)
    found = []
    for name in costs:
        if name in known:
            continue
        gaps, dearer = [], 0
        for seed, accuracy in of[name].items():
            line = [(at(costs[each], seed).mean, of[each][seed]) for each in known if seed in of[each]]
            cycles = at(costs[name], seed).mean
            wanted = _on_line(line, cycles)
            if wanted is not None:
                gaps.append(accuracy - wanted)
                dearer += cycles > line[-1][0]
        what = "the dense network, of fewer cycles" if gaps and dearer == len(gaps) else "narrow networks of its cycles"
        found.append(_said(f"{name} - {what}", gaps))
    return found


def _on_line(points: Sequence[tuple[float, float]], cycles: float) -> float | None:
    """The accuracy at a number of cycles; None where there are fewer than any network takes.

    Args:
        points: cycles and accuracies, in order of the cycles.
    """
    if not points or cycles < points[0][0]:
        return None
    for (low, below), (high, above) in pairwise(points):
        if cycles <= high:
            return below + (above - below) * (cycles - low) / (high - low)
    return points[-1][1]


def markdown(rows: Sequence[_Row], costs: Costs) -> str:
    """Tables of all networks, of what routers and masks do, and the comparisons.

    Args:
        rows: of trained networks.
        costs: empty where cycles were not measured.
    """
    groups = {name: [row for row in rows if row["name"] == name] for name in NAMES}
    groups = {name: mine for name, mine in groups.items() if mine}
    keys = list(dict.fromkeys(key for row in rows for key in row if key.startswith("brier ")))
    said = [compared(rows, *pair) for pair in PAIRS if groups.keys() >= {*pair}]
    said += against_narrow(rows, costs)
    said += [
        f"{key}: {compared(rows, *pair, key, digits=3)}"
        for pair in BRIER_PAIRS
        if groups.keys() >= {*pair}
        for key in keys
    ]
    brier = [[name, *(_spread(groups[name], key, 3) for key in keys)] for name in BRIER if name in groups]
    masks = []
    for name, mine in groups.items():
        for layer in mine[0]["clusters"]:
            of = {key: fmean(row["clusters"][layer][key] for row in mine) for key in mine[0]["clusters"][layer]}
            core = f"{of['core']:.1f} of {of['all']:.0f}"
            masks.append([name, layer, f"{of['different']:.0f}", core, f"{of['never']:.1f}"])
    routers = [
        [name, *(f"{fmean(row['told_apart'][place] for row in mine):.2f}" for place in range(3))]
        for name, mine in groups.items()
        if mine[0]["told_apart"]
    ]
    parts = (
        _networks(groups, costs),
        "\n".join(f"- {sentence}" for sentence in said),
        markdown_table(["Brier score", *(key.removeprefix("brier ") for key in keys)], brier),
        markdown_table(("masks", "layer", "different sets", "core filters", "never live"), masks, 2),
        markdown_table(("routers", "conv1", "conv2", "conv3"), routers),
    )
    return "\n\n".join(parts)


def _networks(groups: dict[str, list[_Row]], costs: Costs) -> str:
    """Accuracy and what an inference takes, on average and for the worst input; means over seeds."""
    whole = max(row["worst_macs"] for row in groups[DENSE]) if DENSE in groups else 1.0
    heads = ("network", "accuracy, %", "MAC, mean", "at worst", "expected", "cycles, mean", "at worst")
    lines = []
    for name, mine in groups.items():
        macs, worst = (100 * fmean(row[key] for row in mine) / whole for key in ("macs", "worst_macs"))
        expected = f"{100 - fmean(row['expected'] for row in mine):.1f} %" if "expected" in mine[0] else ""
        took = [at(costs[name], row["seed"]) for row in mine] if name in costs else []
        mean = f"{fmean(each.mean for each in took):,.0f}" if took else ""
        most = f"{fmean(each.worst for each in took):,.0f}" if took else ""
        lines.append((name, _spread(mine, "accuracy", 2), f"{macs:.1f} %", f"{worst:.1f} %", expected, mean, most))
    return markdown_table(heads, lines)


def _spread(rows: Sequence[_Row], key: str, digits: int) -> str:
    values = [row[key] for row in rows]
    return f"{fmean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0.0:.{digits}f}"
