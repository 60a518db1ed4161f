"""Graphs within operators: which values of the outer graph they read, and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.values import Value
from tinygen.ir.graph import Graph
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class ReadBranch:
    """A graph within an operator, read.

    Attributes:
        name: of the model.
        builder: holds its tensors and operators.
        inputs: names of what it reads from outside.
        outputs: its values, in the file's order.
    """

    name: str
    builder: Builder
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]

    def graph(self, outputs: Sequence[Tensor]) -> Graph:
        return self.builder.graph(self.name, self.inputs, [tensor.name for tensor in outputs])


def free_names(onnx: Any, graph: Any) -> list[str]:
    """Values that a graph of the file, or one within it, reads and does not make."""
    known = {entry.name for entry in (*graph.initializer, *graph.input)}
    free: dict[str, None] = {}

    def read(names: Sequence[str]) -> None:
        free.update(dict.fromkeys(name for name in names if name and name not in known))

    for node in graph.node:
        read(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                read(free_names(onnx, attribute.g))
        known.update(node.output)
    read([entry.name for entry in graph.output])
    return list(free)
