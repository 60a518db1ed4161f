"""Layers on integer codes one behind the other, and beside each other, as one graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.support.integer_layers import Layer, random_codes
from tinygen.ir.encodings import Encoding
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.tensor import Shape, Tensor


class Chain:
    """A graph in the making. Tensors are called t0 (the input), t1, ...

    Args:
        name: of the graph.
        shape: of the input, without batch.
        encoding: of the input.
    """

    def __init__(self, name: str, shape: Shape, encoding: Encoding) -> None:
        self.name = name
        self.tensors = {"t0": Tensor("t0", (1, *shape), encoding)}
        self.ops: list[Op] = []
        self.last = "t0"

    @property
    def tensor(self) -> Tensor:
        """What the last layer gives."""
        return self.tensors[self.last]

    @property
    def image(self) -> Shape:
        """Its shape without batch."""
        return self.tensor.shape[1:]

    def put(self, layer: Layer, *inputs: str) -> str:
        """Adds a graph of one layer; gives the name of its output.

        Args:
            inputs: in the place of the layer's own; by default what the last one gives.
        """
        graph, number = layer.graph, len(self.ops) + 1
        (op,) = graph.ops
        names = dict(zip(graph.inputs, inputs or (self.last,), strict=True)) | {graph.outputs[0]: f"t{number}"}
        names = {name: names.get(name, f"{name}{number}") for name in graph.tensors}
        for name, tensor in graph.tensors.items():
            if name not in graph.inputs:
                self.tensors[names[name]] = replace(tensor, name=names[name])
        renamed = {"inputs": tuple(names[n] for n in op.inputs), "outputs": tuple(names[n] for n in op.outputs)}
        self.ops.append(replace(op, name=f"layer{number}", **renamed))
        self.last = f"t{number}"
        return self.last

    def graph(self) -> Graph:
        """All of it, validated; its output is that of the last layer."""
        graph = Graph(self.name, self.tensors, tuple(self.ops), ("t0",), (self.last,))
        graph.validate()
        return graph

    def feeds(self, count: int, seed: int) -> list[list[np.ndarray]]:
        """Random inputs."""
        rng, x = np.random.default_rng(seed), self.tensors["t0"]
        return [[random_codes(x.encoding, x.shape, rng)] for _ in range(count)]
