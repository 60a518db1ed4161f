"""Computes operators whose inputs are all constant at build time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op

_ABSENT = np.zeros(0, np.int64)


def fold_constants(graph: Graph) -> Graph:
    """The same graph with constant operators turned into constant tensors.

    An operator that writes a model output or a state's update stays: those are in the arena.
    """
    tensors = dict(graph.tensors)
    kept: list[Op] = []
    for op in graph.ops:
        current = replace(graph, tensors=tensors).node(op)
        constant = all(tensor is None or tensor.is_constant for tensor in current.inputs)
        if not constant or any(name in graph.sinks for name in op.outputs):
            kept.append(op)
            continue
        values = [_ABSENT if t is None or t.data is None else t.data for t in current.inputs]
        for tensor, data in zip(current.outputs, op.evaluate(current, values), strict=True):
            tensors[tensor.name] = replace(tensor, data=data)
    return replace(graph, tensors=tensors, ops=tuple(kept))
