"""States that layers in branches keep, moved in front of the operator: the branch that runs changes its own, and every
other hands them on as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygen.errors import ModelError
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor


def states_outside(graph: Graph) -> Graph:
    """A valid graph of one whose branches keep states, which a graph cannot have as it stands.

    What a branch keeps is what it kept when it ran last, however many invocations ago. An invocation copies it where
    another branch runs.

    Raises:
        ModelError: a branch has a threshold; those belong to the whole graph.
    """
    tensors, states, ops = dict(graph.tensors), list(graph.states), []
    for op in graph.ops:
        if not isinstance(op, Branch):
            ops.append(op)
            continue
        branches = [states_outside(inner) for inner in op.branches]
        inputs, outputs = list(op.inputs), list(op.outputs)
        for number, inner in enumerate(branches):
            for state in inner.states:
                if state.threshold:
                    raise ModelError(f"has the threshold {state.threshold}", where=f"{op.name}/{number}")
                before, after = (
                    _added(tensors, f"{op.name}_{number}_{state.tensor}{end}", inner.tensors[state.tensor])
                    for end in ("", "_next")
                )
                inputs.append(before)
                outputs.append(after)
                states.append(State(before, after, state.initial))
                branches = _ported(branches, number, state)
        branches = [replace(inner, states=()) for inner in branches]
        ops.append(replace(op, inputs=tuple(inputs), outputs=tuple(outputs), branches=tuple(branches)))
    return replace(graph, tensors=tensors, ops=tuple(ops), states=tuple(states))


def _ported(branches: Sequence[Graph], owner: int, state: State) -> list[Graph]:
    """The branches with one more input and output, which hold a state of one of them."""
    found = []
    for number, inner in enumerate(branches):
        tensors, given, made = dict(inner.tensors), state.tensor, state.update
        if number != owner:
            given = made = _added(tensors, state.tensor, branches[owner].tensors[state.tensor])
        found.append(replace(inner, tensors=tensors, inputs=(*inner.inputs, given), outputs=(*inner.outputs, made)))
    return found


def _added(tensors: dict[str, Tensor], wanted: str, like: Tensor) -> str:
    """A tensor of that name, or one like it."""
    name = wanted
    while name in tensors:
        name += "_"
    tensors[name] = replace(like, name=name)
    return name
