"""Constant inputs of a branch operator become constants of its branches, where they fold, or serve layers as weights.

TensorFlow's converter passes weights to branches as inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.tensor import Tensor


def constants_into_branches(graph: Graph) -> Graph:
    """The same graph; branch operators take the index and inputs that are not constant."""
    return replace(graph, ops=tuple(_moved(op, graph.tensors) if isinstance(op, Branch) else op for op in graph.ops))


def _moved(op: Branch, tensors: Mapping[str, Tensor]) -> Op:
    index, *outside = op.inputs
    assert index is not None
    given = [None if name is None else tensors[name].data for name in outside]
    kept = [name for name, data in zip(outside, given, strict=True) if data is None]
    if len(kept) == len(outside):
        return op
    branches = []
    for graph in op.branches:
        inner = dict(graph.tensors)
        for name, data in zip(graph.inputs, given, strict=True):
            if data is not None:
                inner[name] = replace(inner[name], data=data)
        inputs = tuple(name for name, data in zip(graph.inputs, given, strict=True) if data is None)
        branches.append(replace(graph, tensors=inner, inputs=inputs))
    return replace(op, inputs=(index, *kept), branches=tuple(branches))
