"""Tensors that come out the same for every input become constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Add, Arithmetic
from tinygen.ir.tensor import Tensor
from tinygen.passes.ranges import Ranges, channel_ranges


def fold_ranges(graph: Graph) -> Graph:
    """The same graph without the operators whose ranges leave one code per channel.

    An operator that writes a model output stays: outputs live in the arena.
    """
    ranges = channel_ranges(graph)
    readers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    tensors = dict(graph.tensors)
    kept: list[Op] = []
    for node in graph.nodes():
        names = node.op.outputs
        if any(name in graph.outputs or name not in ranges or not ranges[name].constant.all() for name in names):
            kept.append(node.op)
            continue
        for tensor in node.outputs:
            small = all(_broadcasts(graph.node(reader), tensor, ranges) for reader in readers.get(tensor.name, []))
            tensors[tensor.name] = _constant(tensor, ranges, small)
    return replace(graph, tensors=tensors, ops=tuple(kept))


def _broadcasts(reader: Node, tensor: Tensor, ranges: Ranges) -> bool:
    """Whether one pixel of `tensor` is enough: the other operand has the output's shape, and stays."""
    if not isinstance(reader.op, Arithmetic):
        return False
    if isinstance(reader.op, Add) and reader.op.shifts(reader) is not None:
        return False
    others = [other for other in (reader.input(0), reader.input(1)) if other.name != tensor.name]
    return len(others) == 1 and others[0].shape == reader.output.shape and not ranges[others[0].name].constant.all()


def _constant(tensor: Tensor, ranges: Ranges, small: bool) -> Tensor:
    shape = (1,) * (len(tensor.shape) - 1) + tensor.shape[-1:] if small else tensor.shape
    codes = np.broadcast_to(ranges[tensor.name].low, shape).astype(tensor.dtype)
    return replace(tensor, shape=shape, data=codes)
