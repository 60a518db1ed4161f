"""Fuses operators that tuned kernels compute together, so that the tensor between them is never stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import fields, replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.integer_mac import SCALES
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.epilogues.sums import fit_sum
from tinygen.lowering.select import COMPACT, DENSE, SPARSE, choose

_CLOSE = 1.03
"""What is a little slower is taken for the tensor that is not stored."""
_LARGE = 0.5
"""Of the bytes at the operator with the most of them: sums of integer codes with less do not decide the arena, and a
kernel for both is more code.
"""


def fuse(graph: Graph, family: str, isa: Collection[str]) -> Graph:
    """An equivalent graph with convolution and addition fused if a kernel computes both."""
    if family not in ("tinygen", COMPACT, DENSE, SPARSE):
        return graph
    readers = Counter(name for op in graph.ops for name in op.inputs)
    readers.update(graph.sinks)
    ops: list[Op] = []
    largest = max((_bytes_at(graph, op) for op in graph.ops), default=0)
    for op in graph.ops:
        joined = None
        if isinstance(op, Add) or (isinstance(op, IntegerAdd) and _bytes_at(graph, op) >= _LARGE * largest):
            pairs = _convolutions_and_sums(graph, ops, op, readers)
            joined = next((one for one in pairs if _pays(graph, *one, op, family, isa)), None)
        if joined is None:
            ops.append(op)
        else:
            convolution, whole = joined
            ops.remove(convolution)
            ops.append(whole)
    if len(ops) == len(graph.ops):
        return graph
    written = {name for op in ops for name in op.outputs}
    gone = {name for op in graph.ops for name in op.outputs} - written
    return replace(graph, ops=tuple(ops), tensors={n: t for n, t in graph.tensors.items() if n not in gone})


def _bytes_at(graph: Graph, op: Op) -> int:
    """Bytes of activations that an operator reads and writes."""
    node = graph.node(op)
    return sum(
        tensor.nbytes for tensor in (*node.inputs, *node.outputs) if tensor is not None and not tensor.is_constant
    )


def _convolutions_and_sums(
    graph: Graph, before: list[Op], add: Add | IntegerAdd, readers: Counter[str]
) -> Iterator[tuple[Conv2D, Conv2DAdd]]:
    """Convolutions whose only reader is an addition, the last one first; each with the fused operator."""
    node = graph.node(add)
    if not node.input(0).shape == node.input(1).shape == node.output.shape or add.inputs[0] == add.inputs[1]:
        return
    for convolution in reversed(before):
        name = convolution.outputs[0]
        if type(convolution) is not Conv2D or name not in add.inputs or readers[name] > 1:
            continue
        source = graph.node(convolution)
        if not source.input(1).is_constant or convolution.groups(source) > 1 or source.output.shape[0] > 1:
            continue
        if source.optional(SCALES) is not None:
            continue  # they have the place of the other operand
        if isinstance(add, Add) and not _as_tflite(convolution, node):
            continue
        other = add.inputs[1 - add.inputs.index(name)]
        ordered = add if isinstance(add, Add) else _turned(add, add.inputs.index(name))
        # In the order of the fused operator: one may have a linear form where the other has none.
        tensors = (graph.tensors[name], graph.tensors[other])
        if isinstance(ordered, Add) and fit_sum(Node(ordered, tensors, node.outputs)) is None:
            continue
        yield convolution, _fused(convolution, ordered, graph.tensors[name], other)


def _as_tflite(convolution: Conv2D, addition: Node) -> bool:
    """Whether there are kernels for the two of TFLite's operators."""
    return convolution.is_tflite and convolution.rounds_as_litert_does and addition.output.dtype == np.int8


def _turned(add: IntegerAdd, first: int) -> IntegerAdd:
    """The sum with operand `first` as the first one."""
    return replace(add, first=add.second, second=add.first) if first else add


def _fused(convolution: Conv2D, add: Add | IntegerAdd, between: Tensor, other: str) -> Conv2DAdd:
    assert isinstance(between.encoding, IntegerEncoding)
    bias = convolution.inputs[2] if len(convolution.inputs) > 2 else ""
    of_convolution = {field.name: getattr(convolution, field.name) for field in fields(Conv2D)}
    return Conv2DAdd(
        **of_convolution
        | {
            "name": f"{convolution.name}_{add.name}",
            "inputs": (*convolution.inputs[:2], bias, other),
            "outputs": add.outputs,
            "between": between.encoding,
            "sum": add,
        }
    )


def _pays(graph: Graph, convolution: Op, whole: Op, add: Op, family: str, isa: Collection[str]) -> bool:
    """Whether a kernel computes both, about as fast as two kernels would."""
    try:
        together = choose(graph.node(whole), family, isa)
    except UnsupportedError:
        return False
    apart = [choose(graph.node(op), family, isa) for op in (convolution, add)]
    return together.fastest.cycles <= _CLOSE * sum(choice.fastest.cycles for choice in apart)
