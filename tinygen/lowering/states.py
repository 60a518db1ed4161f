"""The copies after the last layer that bring the states up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.state import State
from tinygen.lowering.lifetimes import Place


@dataclass(frozen=True)
class Move:
    """A copy of bytes; source and target may overlap.

    Attributes:
        state: name of its tensor.
        update: name of the tensor that is copied to it.
        size: bytes.
    """

    state: str
    update: str
    size: int


def final_moves(graph: Graph, places: Mapping[str, Place]) -> tuple[Move, ...]:
    """The copies, in an order in which none overwrites what a later one reads; no copy for updates in place.

    Args:
        graph: with its operators in the order in which they run.
        places: of every tensor that is computed.

    Raises:
        UnsupportedError: there is no such order, or an output of the model would be overwritten.
    """
    left = [state for state in graph.states if places[state.update] != places[state.tensor]]
    for state in left:
        given = [name for name in graph.outputs if places[name].slot is places[state.tensor].slot]
        if given:
            raise UnsupportedError(
                f"output '{given[0]}' is what '{state.tensor}' was before the invocation, and would be overwritten",
                where=graph.name,
                fix="Let an operator compute the output from it.",
            )
    moves = []
    while left:
        free = _free(left, places)
        if free is None:
            names = ", ".join(f"'{state.tensor}'" for state in left)
            raise UnsupportedError(
                f"states take each other's places: {names}",
                where=graph.name,
                fix="Let an operator compute what one of them becomes.",
            )
        left.remove(free)
        size = graph.tensors[free.tensor].nbytes
        moves.append(Move(free.tensor, free.update, size))
    return tuple(moves)


def _free(states: Sequence[State], places: Mapping[str, Place]) -> State | None:
    """A state that no remaining copy reads."""
    for state in states:
        target = places[state.tensor].slot
        if all(places[other.update].slot is not target for other in states if other is not state):
            return state
    return None
