"""States of layers in branches become states of the outer graph: the branch that runs updates its own states and passes
those of other branches through unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygen.errors import ModelError
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor


def states_outside(graph: Graph) -> Graph:
    """A valid graph, from one whose branches have states, which `Graph.validate` refuses.

    A branch's state is that of its last run, however many invocations ago. If another branch runs, the invocation
    copies it.

    Raises:
        ModelError: a branch has a threshold; thresholds belong to the top-level graph.
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
    """The branches with one more input and output, for a state of one of them."""
    found = []
    for number, inner in enumerate(branches):
        tensors, given, made = dict(inner.tensors), state.tensor, state.update
        if number != owner:
            given = made = _added(tensors, state.tensor, branches[owner].tensors[state.tensor])
        found.append(replace(inner, tensors=tensors, inputs=(*inner.inputs, given), outputs=(*inner.outputs, made)))
    return found


def _added(tensors: dict[str, Tensor], wanted: str, like: Tensor) -> str:
    """Adds a tensor of that name, or of a similar one if the name is taken."""
    name = wanted
    while name in tensors:
        name += "_"
    tensors[name] = replace(like, name=name)
    return name
