"""Turns tensors that are the same for every input into constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Add, Arithmetic
from tinygen.ir.tensor import Tensor
from tinygen.passes.integer_ranges import is_integer
from tinygen.passes.mac_ranges import is_quantized
from tinygen.passes.ranges import Ranges, channel_ranges

SMALL = 1024
"""Bytes: about what the code takes that computes a tensor. Larger constants only where that frees as much flash."""


def fold_ranges(graph: Graph) -> Graph:
    """The same graph without operators whose output range is one code of TFLite's types per channel.

    An operator that writes a model output or a state's update stays: those are in the arena. So do operators on integer
    codes: their kernels read activations, not constants.
    """
    ranges = channel_ranges(graph)
    readers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    folded: dict[str, Tensor] = {}
    kept: list[Op] = []
    # Last to first: a constant costs nothing if all its readers are folded too.
    for node in reversed(list(graph.nodes())):
        names = node.op.outputs
        if is_integer(node.op) or not all(_is_constant(graph, ranges, name) for name in names):
            kept.append(node.op)
            continue
        constants = [_constant(graph, tensor, readers.get(tensor.name, []), ranges) for tensor in node.outputs]
        vanish = all(output in folded for name in names for op in readers.get(name, []) for output in op.outputs)
        if vanish or _pays(node, constants):
            folded |= {tensor.name: tensor for tensor in constants}
        else:
            kept.append(node.op)
    return replace(graph, tensors={**graph.tensors, **folded}, ops=tuple(reversed(kept)))


def _is_constant(graph: Graph, ranges: Ranges, name: str) -> bool:
    wanted = name not in graph.sinks and is_quantized(graph.tensors[name])
    return wanted and name in ranges and bool(ranges[name].constant.all())


def _pays(node: Node, constants: list[Tensor]) -> bool:
    """Whether the constant costs little flash."""
    freed = sum(tensor.nbytes for tensor in node.inputs if tensor is not None and tensor.is_constant)
    return sum(tensor.nbytes for tensor in constants) <= max(freed, SMALL)


def _broadcasts(reader: Node, tensor: Tensor, ranges: Ranges) -> bool:
    """Whether one pixel of `tensor` is enough: the other operand has the output's shape, and is not folded."""
    if not isinstance(reader.op, Arithmetic):
        return False
    if isinstance(reader.op, Add) and reader.op.shifts(reader) is not None:
        return False
    others = [other for other in (reader.input(0), reader.input(1)) if other.name != tensor.name]
    return len(others) == 1 and others[0].shape == reader.output.shape and not ranges[others[0].name].constant.all()


def _constant(graph: Graph, tensor: Tensor, readers: list[Op], ranges: Ranges) -> Tensor:
    """The tensor as a constant, of one pixel if that is enough for all its readers."""
    small = all(_broadcasts(graph.node(reader), tensor, ranges) for reader in readers)
    shape = (1,) * (len(tensor.shape) - 1) + tensor.shape[-1:] if small else tensor.shape
    codes = np.broadcast_to(ranges[tensor.name].low, shape).astype(tensor.dtype)
    return replace(tensor, shape=shape, data=codes)
