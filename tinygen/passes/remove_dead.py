"""Removes operators and states that nothing reads, and their tensors."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op


def remove_dead(graph: Graph) -> Graph:
    """The same graph without operators that affect no model output, in this inference or a later one."""
    alive: set[str] = set()
    while True:
        kept, needed = _reaching(graph, {*graph.outputs, *alive})
        updates = {state.update for state in graph.states if state.tensor in needed}
        if updates <= alive:
            break
        alive |= updates
    states = tuple(state for state in graph.states if state.tensor in needed)
    smaller = replace(graph, ops=kept, states=states)
    touched = {name for op in kept for name in (*op.inputs, *op.outputs)} | {*smaller.sources, *smaller.sinks}
    return replace(smaller, tensors={name: tensor for name, tensor in graph.tensors.items() if name in touched})


def _reaching(graph: Graph, wanted: set[str]) -> tuple[tuple[Op, ...], set[str]]:
    """Operators and tensors that the given tensors depend on."""
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if wanted.intersection(op.outputs):
            wanted.update(name for name in op.inputs if name)
            kept.append(op)
    return tuple(reversed(kept)), wanted
