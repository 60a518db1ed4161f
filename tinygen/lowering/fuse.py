"""Fuses operators that tuned kernels compute together, so that the tensor between them is never stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.lowering.kernels.support.epilogues.sums import fit_sum
from tinygen.lowering.select import COMPACT, DENSE, SPARSE


def fuse(graph: Graph, family: str, isa: Collection[str]) -> Graph:
    """An equivalent graph with convolution and addition fused if a kernel computes both."""
    if family not in ("tinygen", COMPACT, DENSE, SPARSE) or "dsp" not in isa:
        return graph
    readers = Counter(name for op in graph.ops for name in op.inputs)
    readers.update(graph.sinks)
    ops: list[Op] = []
    for op in graph.ops:
        joined = _convolution_and_sum(graph, ops, op, readers) if type(op) is Add else None
        if joined is None:
            ops.append(op)
        else:
            convolution, whole = joined
            ops.remove(convolution)
            ops.append(whole)
    written = {name for op in ops for name in op.outputs}
    gone = {name for op in graph.ops for name in op.outputs} - written
    return replace(graph, ops=tuple(ops), tensors={n: t for n, t in graph.tensors.items() if n not in gone})


def _convolution_and_sum(graph: Graph, before: list[Op], add: Op, readers: Counter[str]) -> tuple[Op, Op] | None:
    """The convolution whose only reader is an addition, and the fused operator."""
    assert isinstance(add, Add)
    node = graph.node(add)
    same = node.input(0).shape == node.input(1).shape == node.output.shape
    if node.output.dtype != np.int8 or not same or add.inputs[0] == add.inputs[1]:
        return None
    for convolution in reversed(before):
        name = convolution.outputs[0]
        if type(convolution) is not Conv2D or not convolution.is_tflite or name not in add.inputs or readers[name] > 1:
            continue
        source = graph.node(convolution)
        weights = source.input(1)
        if not weights.is_constant or convolution.groups(source) > 1 or source.output.shape[0] > 1:
            continue
        if not convolution.rounds_as_litert_does:
            continue  # there may be no kernel for the two
        between = graph.tensors[name].encoding
        assert isinstance(between, Affine)
        other = add.inputs[1 - add.inputs.index(name)]
        # In the order of the fused operator: one may have a linear form where the other has none.
        if fit_sum(Node(add, (graph.tensors[name], graph.tensors[other]), node.outputs)) is None:
            continue
        bias = convolution.inputs[2] if len(convolution.inputs) > 2 else ""
        return convolution, Conv2DAdd(
            name=f"{convolution.name}_{add.name}",
            inputs=(*convolution.inputs[:2], bias, other),
            outputs=add.outputs,
            padding=convolution.padding,
            stride=convolution.stride,
            dilation=convolution.dilation,
            epilogue=convolution.epilogue,
            row_padding=convolution.row_padding,
            column_padding=convolution.column_padding,
            between=between,
            sum=add,
        )
    return None
