"""Subgraphs of operators: the values of the outer graph that they read, and their outputs."""

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
    """A subgraph of an operator after reading.

    Attributes:
        name: of the model.
        builder: holds its tensors and operators.
        inputs: names of the values of the outer graph that it reads.
        outputs: values, in the file's order.
    """

    name: str
    builder: Builder
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]

    def graph(self, outputs: Sequence[Tensor]) -> Graph:
        return self.builder.graph(self.name, self.inputs, [tensor.name for tensor in outputs])


def free_names(onnx: Any, graph: Any) -> list[str]:
    """Values that a graph of the file, or its subgraphs, read but do not compute."""
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
