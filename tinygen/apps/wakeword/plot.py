"""The DET curve as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from tinygen.apps.wakeword.evaluate import Evaluation
from tinygen.errors import TinygenError


def check_matplotlib() -> None:
    """
    Raises:
        TinygenError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise TinygenError("the DET curve needs matplotlib", fix="pip install 'tinygen[plot]'") from error


def det_picture(evaluations: Sequence[Evaluation], title: str) -> bytes:
    """A PNG: false rejects against false accepts per hour, a line per precision, the chosen cutoff as a dot.

    The axis of false accepts is logarithmic from one in all the hours on, and linear below: zero stands at zero.
    """
    content = io.BytesIO()
    det_figure(evaluations, title).savefig(content, format="png", dpi=120, metadata={"Software": None})
    return content.getvalue()


def det_figure(evaluations: Sequence[Evaluation], title: str) -> Any:
    """The plot of `det_picture` as a matplotlib figure."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for evaluation in evaluations:
        points = evaluation.curve
        (line,) = axes.step(
            [point.false_accepts.value for point in points],
            [point.false_rejects.value for point in points],
            where="post",
            label=evaluation.name,
        )
        chosen = evaluation.chosen
        axes.plot([chosen.false_accepts.value], [chosen.false_rejects.value], "o", color=line.get_color())
    once = min(1 / evaluation.chosen.hours for evaluation in evaluations)
    axes.set_xscale("symlog", linthresh=once, linscale=0.3)
    axes.set_xlim(left=-0.1 * once)
    marks = [step * 10.0**power for power in range(-2, 5) for step in (1, 2, 5)]
    axes.xaxis.set_major_locator(FixedLocator([0, *(mark for mark in marks if mark > 1.2 * once)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda mark, place: f"{mark:g}"))
    axes.set_xlabel("false accepts per hour")
    axes.set_ylabel("false rejects")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
