"""Operators that nothing reads are dropped, and tensors that nothing touches with them."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op


def remove_dead(graph: Graph) -> Graph:
    """The same graph without operators whose outputs reach no model output."""
    needed = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(name for name in op.inputs if name)
            kept.append(op)
    kept.reverse()
    touched = {name for op in kept for name in (*op.inputs, *op.outputs)} | set(graph.inputs) | set(graph.outputs)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in touched}
    return replace(graph, tensors=tensors, ops=tuple(kept))
