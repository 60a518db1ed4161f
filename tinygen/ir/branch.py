"""BRANCH: an index selects which of several graphs runs. ONNX's `If`, TFLite's `IF` and `torch.cond` have two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError, TinygenError
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape, Tensor

MOST_NESTED = 8
"""Branches within branches: each is a call within a call in the C, and its stack is the board's."""
_INDICES = ("bool", "int8", "int32")


@dataclass(frozen=True, kw_only=True)
class Branch(Op):
    """Inputs: the index, one element of bool, int8 or int32; then the branches' inputs, of any encoding.

    Every branch takes all inputs but the index, in order, and gives all outputs, with the operator's shapes and
    encodings. A branch without operators returns its inputs or constants. An index out of range selects the last
    branch, as in XLA's `Conditional`.

    Attributes:
        branches: one graph per index; graphs have no states.
    """

    KIND: ClassVar[str] = "branch"
    TAKES_BITS: ClassVar[bool] = True

    # Graphs hold dictionaries, which have no hash; operators do.
    branches: tuple[Graph, ...] = field(hash=False)

    def infer_shapes(self, node: Node) -> list[Shape]:
        first = self.branches[0]
        return [first.tensors[name].shape for name in first.outputs]

    def check(self, node: Node) -> None:
        index = node.input(0)
        is_index = isinstance(index.encoding, Plain) and index.encoding.storage in _INDICES and index.size == 1
        node.require(is_index, f"the index must be one element of {', '.join(_INDICES)}, not {index.describe()}")
        node.require(bool(self.branches), "it has no branches")
        node.require(not _is_deeper(self, MOST_NESTED), f"it has more than {MOST_NESTED} branches within each other")
        captured = [node.input(position) for position in range(1, len(node.inputs))]
        for number, graph in enumerate(self.branches):
            where = f"{self.name}/{number}"
            node.require(not graph.states, f"branch {number} keeps states, and only whole models can")
            try:
                graph.validate()
            except TinygenError as error:
                error.where = f"{where}: {error.where}" if error.where else where
                raise
            _check_ports(graph, graph.inputs, captured, "input", where)
            _check_ports(graph, graph.outputs, node.outputs, "output", where)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return evaluate(self.chosen(int(values[0].reshape(()))), values[1:])

    def chosen(self, index: int) -> Graph:
        """The branch that an index selects."""
        return self.branches[self.number(index)]

    def number(self, index: int) -> int:
        """The number of the branch that an index selects."""
        return index if 0 <= index < len(self.branches) else len(self.branches) - 1

    def macs(self, node: Node) -> int:
        """Multiply-accumulates of the branch that has the most."""
        return max(sum(inner.op.macs(inner) for inner in graph.nodes()) for graph in self.branches)


def _check_ports(graph: Graph, names: Sequence[str], outside: Sequence[Tensor], kind: str, where: str) -> None:
    """Raises ModelError unless a branch's inputs or outputs match the operator's in number, shape and encoding."""
    if len(names) != len(outside):
        raise ModelError(f"has {len(names)} {kind}s, the operator {len(outside)}", where=where)
    if kind == "input" and len(set(names)) < len(names):
        raise ModelError("has an input twice", where=where)
    for name, tensor in zip(names, outside, strict=True):
        own = graph.tensors[name]
        if (own.shape, own.encoding) != (tensor.shape, tensor.encoding):
            raise ModelError(
                f"{kind} '{name}' is {own.describe()} of {own.encoding}, outside it is {tensor.describe()} of "
                f"{tensor.encoding}",
                where=where,
            )


def _is_deeper(op: Branch, limit: int) -> bool:
    """Whether branches are nested deeper than `limit`, this one included."""
    return limit == 0 or any(_is_deeper(one, limit - 1) for graph in op.branches for one in branches_of(graph))


def branches_of(graph: Graph) -> Iterator[Branch]:
    """A graph's own branch operators, without those nested in them."""
    return (op for op in graph.ops if isinstance(op, Branch))


def with_branches(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with `change` applied to each branch, not to nested ones; the same object where there is none."""
    if not any(branches_of(graph)):
        return graph
    ops = tuple(
        replace(op, branches=tuple(map(change, op.branches))) if isinstance(op, Branch) else op for op in graph.ops
    )
    return replace(graph, ops=ops)


def all_graphs(graph: Graph) -> Iterator[Graph]:
    """A graph and, recursively, the graphs of its branches."""
    yield graph
    for op in branches_of(graph):
        for inner in op.branches:
            yield from all_graphs(inner)
