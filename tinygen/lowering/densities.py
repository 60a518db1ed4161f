"""Gated networks with another density, to ask what they would cost."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from tinygen.errors import TinygenError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.top_k import TopK


def at_density(graph: Graph, density: Fraction) -> Graph | None:
    """The graph with gates that all keep this share of their channels, where the number is fixed; None where other
    operators need the number that there is.
    """
    tensors, ops = dict(graph.tensors), []
    for op in graph.ops:
        if isinstance(op, TopK) and op.by_position:
            op = replace(op, k=max(1, round(density * tensors[op.inputs[0]].size)))
        ops.append(op)
        inputs = tuple(tensors[name] if name else None for name in op.inputs)
        node = Node(op, inputs, tuple(tensors[name] for name in op.outputs))
        try:
            shapes = op.infer_shapes(node)
        except (TinygenError, ValueError, IndexError):
            return None
        tensors |= {name: replace(tensors[name], shape=shape) for name, shape in zip(op.outputs, shapes, strict=True)}
    found = replace(graph, ops=tuple(ops), tensors=tensors)
    try:
        found.validate()
    except TinygenError:
        return None
    return found
