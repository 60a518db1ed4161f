"""A header with the cost of an inference of a network with branches, for schedulers."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.emit.ctext import comment_safe
from tinygen.emit.templates import environment
from tinygen.lowering.costs import Costs
from tinygen.version import VERSION


def cycles_header(name: str, board: str, source: str, costs: Sequence[Costs]) -> str:
    """The text of NAME_cycles.h.

    Args:
        name: of the model.
        board: for which the cycles are.
        source: "predicted" or "estimated".
        costs: of each switch; the header has the worst and the best of all switches.
    """
    expected = costs[0].expected
    context = {
        "name": name,
        "NAME": name.upper(),
        "version": VERSION,
        "board": comment_safe(board),
        "source": source,
        "worst": round(max(one.worst.cycles for one in costs)),
        "best": round(min(one.best.cycles for one in costs)),
        "expected": round(expected.cycles) if expected is not None and len(costs) == 1 else None,
    }
    return environment().get_template("model/cycles.h.j2").render(context)
