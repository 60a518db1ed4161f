"""Plots of accuracy against several costs."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """One line of every panel.

    Attributes:
        name: in the legend; behind the cost in its id, `flash_bytes:taylor`.
        costs: of its points, by the cost's name.
        accuracies, spreads: in %: means and standard deviations.
        look: what matplotlib's `errorbar` takes.
    """

    name: str
    costs: Mapping[str, Sequence[float]]
    accuracies: Sequence[float]
    spreads: Sequence[float]
    look: Mapping[str, Any]


def accuracy_svg(
    lines: Sequence[Line],
    labels: Mapping[str, str],
    size: tuple[float, float],
    scale: Callable[[Any], None] = lambda panel: None,
) -> str | None:
    """One picture: a panel per cost.

    Args:
        labels: of the axes, by the cost's name.
        size: in inches.
        scale: changes the axis of accuracies, given the first panel.

    Returns:
        An <svg> element, the same for the same figures; None where matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    # Ids and dates that depend on the time would make the file differ for the same figures.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tinygen", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(labels), sharey=True)
        for panel, (cost, label) in zip(panels, labels.items(), strict=True):
            for line in lines:
                look = {"capsize": 2, "elinewidth": 0.6, "linewidth": 1.2, "label": line.name, **line.look}
                bars = panel.errorbar(line.costs[cost], line.accuracies, yerr=line.spreads, **look)
                bars.lines[0].set_gid(f"{cost}:{line.name}")
            panel.set_xlabel(label)
            panel.grid(alpha=0.3)
        scale(panels[0])
        panels[0].set_ylabel("accuracy, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
