"""The DET curve as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from tinygen.errors import TinygenError
from tinygen.wakeword_training.evaluate import Evaluation


def check_matplotlib() -> None:
    """
    Raises:
        TinygenError: it is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise TinygenError("the DET curve needs matplotlib", fix="pip install 'tinygen[plot]'") from error


def det_picture(evaluations: Sequence[Evaluation], title: str) -> bytes:
    """A PNG: false rejects against false accepts per hour, a line per precision, the chosen cutoff as a dot.

    What is never accepted in all the hours stands at half of one accept.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for evaluation in evaluations:
        least = 0.5 / evaluation.chosen.hours
        points = evaluation.curve
        (line,) = axes.step(
            [max(point.false_accepts.value, least) for point in points],
            [point.false_rejects.value for point in points],
            where="post", label=evaluation.name,
        )  # fmt: skip
        chosen = evaluation.chosen
        axes.plot([max(chosen.false_accepts.value, least)], [chosen.false_rejects.value], "o", color=line.get_color())
    axes.set_xscale("log")
    axes.set_xlabel("false accepts per hour")
    axes.set_ylabel("false rejects")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    return content.getvalue()
