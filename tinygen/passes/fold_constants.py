"""Computes operators whose inputs are all constant at build time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Tensor

_ABSENT = np.zeros(0, np.int64)
_MOST_BYTES = 1 << 26
"""Of a constant that an operator becomes; no microcontroller has flash for more."""


def fold_constants(graph: Graph) -> Graph:
    """The same graph with constant operators turned into constant tensors.

    An operator that writes a model output or a state's update stays: those are in the arena.
    """
    tensors = dict(graph.tensors)
    kept: list[Op] = []
    for op in graph.ops:
        current = replace(graph, tensors=tensors).node(op)
        found = None if any(name in graph.sinks for name in op.outputs) else folded(current)
        if found is None:
            kept.append(op)
        else:
            tensors |= {tensor.name: tensor for tensor in found}
    return replace(graph, tensors=tensors, ops=tuple(kept))


def folded(node: Node) -> list[Tensor] | None:
    """The outputs of a valid operator as constants; None if an input is computed at run time."""
    if not all(tensor is None or tensor.is_constant for tensor in node.inputs):
        return None
    if any(tensor.nbytes > _MOST_BYTES for tensor in node.outputs):
        return None
    values = [_ABSENT if tensor is None or tensor.data is None else tensor.data for tensor in node.inputs]
    with np.errstate(all="ignore"):
        results = node.op.evaluate(node, values)
    return [replace(tensor, data=np.asarray(data)) for tensor, data in zip(node.outputs, results, strict=True)]
