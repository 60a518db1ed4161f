"""Random networks over a window of frames that decide what else runs, with thresholds that may be set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.support.windows import WindowNetwork
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Affine, Encoding, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.tensor import Shape, Tensor
from tinygen.ir.thresholds import new_threshold

INPUT = Affine("int8", (0.05,), (-3,))
OUTPUT = Affine("int8", (0.07,), (4,))


def deciding_window(seed: int, shape: Shape, outputs: int, name: str = "window") -> Graph:
    """Convolutions over time, and a gate that chooses among what follows; a gate within one of its branches now and
    then.

    Args:
        shape: of the input, [1, frames, width, channels].
        outputs: how many there are.
    """
    rng = np.random.default_rng(seed)
    net = WindowNetwork(rng, shape, INPUT)
    for _ in range(int(rng.integers(1, 3))):
        net.conv(int(rng.integers(2, 7)), (int(rng.integers(2, 4)), 1))
    graph = _decided(net, outputs, "EXIT_1", int(rng.integers(0, 2)))
    states = []
    tensors = dict(graph.tensors)
    for one, code in _thresholds(graph).items():
        tensor, state = new_threshold(one, graph.tensors[one].encoding, code)
        tensors[one] = tensor
        states.append(state)
    graph = Graph(name, tensors, graph.ops, ("input",), graph.outputs, tuple(states))
    graph.validate()
    return graph


def _thresholds(graph: Graph) -> dict[str, int]:
    """The code that each begins with: they are constants so far."""
    found = {name: t.data for name, t in graph.tensors.items() if name.startswith("EXIT_")}
    return {name: int(data[0]) for name, data in found.items() if data is not None}


def _decided(net: WindowNetwork, outputs: int, threshold: str, nested: int) -> Graph:
    """The network with a gate behind it, whose threshold is a constant: what the gate says of a random input."""
    trunk, trunk_shape, encoding = net.x, net.shape, net.encoding
    net.mean()
    net.dense(1)
    gate, code = net.x, net.values[net.x].reshape(1)
    relation = Relation.GREATER_EQUAL if net.rng.random() < 0.5 else Relation.LESS
    gates = {threshold: Tensor(threshold, (1,), net.encoding, code)}
    inner = [_body(net.rng, trunk_shape, encoding, outputs, deep) for deep in (False, True)]
    if nested:
        lower = _decided(WindowNetwork(net.rng, trunk_shape, encoding), outputs, "EXIT_2", 0)
        gates |= {"EXIT_2": lower.tensors["EXIT_2"]}
        inner[1] = replace(lower, tensors={**lower.tensors, "EXIT_2": replace(gates["EXIT_2"], data=None)})
        inner = [_taking(graph, gates["EXIT_2"]) for graph in inner]
    compare = Compare(name="gate", inputs=(gate, threshold), outputs=("leaves",), relation=relation)
    within = [name for name in gates if name != threshold]
    op = Branch(name="exit", inputs=("leaves", trunk, *within), outputs=("y",), branches=(inner[0], inner[1]))
    tensors = {**net.tensors, **gates, "leaves": Tensor("leaves", (1, 1), Plain("bool"))}
    tensors["y"] = Tensor("y", (1, outputs), OUTPUT)
    return Graph("window", tensors, (*net.ops, compare, op), ("input",), ("y",))


def _taking(graph: Graph, threshold: Tensor) -> Graph:
    tensors = {**graph.tensors, threshold.name: replace(threshold, data=None)}
    return replace(graph, tensors=tensors, inputs=("input", threshold.name))


def _body(rng: np.random.Generator, shape: Shape, encoding: Encoding, outputs: int, deep: bool) -> Graph:
    """A branch; layers that pad in time are welcome in it."""
    net = WindowNetwork(rng, shape, encoding)
    if deep:
        net.conv(int(rng.integers(2, 7)), (3, 1), row_padding=(1, 1))
    else:
        net.mean()
    net.dense(outputs)
    net.add(Quantize, [net.x], OUTPUT)
    return net.graph()
