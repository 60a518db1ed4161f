"""Elementwise operators between two tensors, of one operand: together they are one function of it.

Of int8 codes any function is a table of 256, so that a GELU that is spelled out costs what one operator does, and is
rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.roles import activations
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Binary
from tinygen.ir.ops.unary import Unary


@dataclass(frozen=True, kw_only=True)
class Composed(Unary):
    """Several operators on floats. Never part of a Graph that a reader gives.

    Attributes:
        body: from its single input to its single output.
    """

    KIND: ClassVar[str] = "composed"

    body: Graph

    def real(self, x: np.ndarray) -> np.ndarray:
        return self.applied(x.astype(np.float32))

    def applied(self, x: np.ndarray) -> np.ndarray:
        """The function of an array of any shape, in single precision."""
        body = self.body
        tensors = {
            name: tensor if tensor.is_constant else replace(tensor, shape=x.shape)
            for name, tensor in body.tensors.items()
        }
        return evaluate(replace(body, tensors=tensors), [x])[0]


def compose(model: FloatModel) -> FloatModel:
    """The same network with every run of elementwise operators on one tensor as one operator."""
    graph = model.graph
    bases = _bases(graph)
    runs = {output: _run(graph, output, base) for output, base in bases.items()}
    inner = {name for run in runs.values() for op in run[:-1] for name in op.outputs} - runs.keys()
    ops: list[Op] = []
    for op in graph.ops:
        output = op.outputs[0]
        if len(runs.get(output, ())) > 1:
            ops.append(_composed(graph, runs[output], bases[output]))
        elif output not in inner:
            ops.append(op)
    used = {name for op in ops for name in (*op.inputs, *op.outputs)} | {*graph.inputs, *graph.outputs}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    return replace(model, graph=replace(graph, tensors=tensors, ops=tuple(ops)))


def _bases(graph: Graph) -> dict[str, str]:
    """The tensor that each of some tensors is an elementwise function of.

    These are the ones that an operator of another kind reads, that are given out, or that are an operand beside a
    function of another tensor: they must be there. The others are only steps on the way to them.
    """
    functions = {op.outputs[0] for op in graph.ops if _is_function(graph, op)}
    there = {*graph.inputs, *graph.outputs}
    for op in graph.ops:
        there.update(op.inputs if op.outputs[0] not in functions else ())
        there.update(() if op.outputs[0] in functions else op.outputs)
    while True:
        bases: dict[str, str] = {}
        apart: set[str] = set()
        for op in graph.ops:
            if op.outputs[0] in functions:
                given = activations(graph, op)
                found = {name if name in there else bases[name] for name in given}
                apart.update(given if len(found) > 1 else ())
                bases[op.outputs[0]] = found.pop() if len(found) == 1 else op.outputs[0]
        if apart <= there:
            return {name: base for name, base in bases.items() if name in there and name != base}
        there |= apart


def _is_function(graph: Graph, op: Op) -> bool:
    """Whether an output's elements are functions of the same elements of its operands, and of single numbers."""
    output = graph.tensors[op.outputs[0]]
    if not isinstance(op, Unary | Binary) or not output.is_float or not activations(graph, op):
        return False
    operands = [graph.tensors[name] for name in op.inputs]
    return all(x.size == 1 if x.is_constant else x.is_float and x.shape == output.shape for x in operands)


def _run(graph: Graph, output: str, base: str) -> list[Op]:
    """The operators from a tensor to a function of it, in the graph's order."""
    wanted, run = {output}, []
    for op in reversed(graph.ops):
        if op.outputs[0] in wanted:
            run.append(op)
            wanted.update(name for name in activations(graph, op) if name != base)
    return run[::-1]


def _composed(graph: Graph, run: Sequence[Op], base: str) -> Composed:
    last = run[-1]
    used = {name for op in run for name in (*op.inputs, *op.outputs)}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    body = Graph(last.name, tensors, tuple(run), (base,), last.outputs)
    return Composed(name=last.name, inputs=(base,), outputs=last.outputs, body=body)
