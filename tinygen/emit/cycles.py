"""A header with what an inference of a network with branches costs, for programs that plan their time."""

from __future__ import annotations

from tinygen.emit.ctext import comment_safe
from tinygen.emit.templates import environment
from tinygen.lowering.costs import Costs
from tinygen.version import VERSION


def cycles_header(name: str, board: str, source: str, costs: Costs) -> str:
    """The text of NAME_cycles.h.

    Args:
        name: of the model.
        board: that the cycles are of.
        source: "predicted" or "estimated".
        costs: of the model.
    """
    context = {
        "name": name,
        "NAME": name.upper(),
        "version": VERSION,
        "board": comment_safe(board),
        "source": source,
        "worst": round(costs.worst.cycles),
        "best": round(costs.best.cycles),
        "expected": None if costs.expected is None else round(costs.expected.cycles),
    }
    return environment().get_template("model/cycles.h.j2").render(context)
