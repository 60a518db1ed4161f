"""Random graphs with branches, one within the other, and a network whose own layer chooses among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.cases import Draw
from tests.support.networks import Network
from tests.support.tflite_builder import ModelSpec, TensorSpec, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.reduce import ArgMax
from tinygen.ir.tensor import Shape, Tensor

SCALE, ZERO = 0.05, -20
"""Of what branches take and give."""
_Body = Callable[[Network, TensorSpec, TensorSpec], TensorSpec]


def _deep(net: Network, x: TensorSpec, side: TensorSpec) -> TensorSpec:
    return net.conv(net.depthwise(net.conv(x, 7, 3)), x.shape[3])


def _sum(net: Network, x: TensorSpec, side: TensorSpec) -> TensorSpec:
    return net.add(net.conv(x, x.shape[3]), side)


def _joined(net: Network, x: TensorSpec, side: TensorSpec) -> TensorSpec:
    return net.conv(net.concatenate([net.pool(x, 2, 1), net.relu(x)]), x.shape[3])


BODIES: dict[str, _Body] = {
    "relu": lambda net, x, side: net.relu(x),
    "conv": lambda net, x, side: net.conv(x, x.shape[3], 3),
    "side": lambda net, x, side: net.relu(side),
    "deep": _deep,
    "sum": _sum,
    "joined": _joined,
}


def spec(dtype: str, shape: Shape) -> TensorSpec:
    """What branches take and give."""
    return TensorSpec(shape, "float32") if dtype == "float32" else TensorSpec(shape, dtype, SCALE, ZERO)


def ports(dtype: str, shape: Shape, index: str) -> dict[str, Tensor]:
    """Inputs of every branch: two images, and an index for branches within it."""
    found = read_tflite(_relu(spec(dtype, shape)))
    encoding = found.tensors[found.inputs[0]].encoding
    return {
        "x": Tensor("x", shape, encoding),
        "side": Tensor("side", shape, encoding),
        "inner": Tensor("inner", (1,), Plain(index)),
    }


def _relu(x: TensorSpec) -> bytes:
    net = Network()
    net.relu(x)
    return net.model()


def layers(body: str, dtype: str, shape: Shape, index: str, seed: int) -> Graph:
    """A branch of some layers."""
    net, x, side = Network(seed, dtype), spec(dtype, shape), spec(dtype, shape)
    y = BODIES[body](net, x, side)
    if dtype != "float32":
        code = BuiltinOperator.QUANTIZE
        net.layers.append(ModelSpec(code, [y], [spec(dtype, shape)], version=2, **options("QuantizeOptions")))
    graph = read_tflite(net.model(), name="branch")
    wanted = {"sum": ("x", "side"), "side": ("side",)}.get(body, ("x",))
    names = dict(zip(graph.inputs, wanted, strict=True))
    ops = tuple(replace(op, inputs=tuple(names.get(name, name) for name in op.inputs)) for op in graph.ops)
    rest = {name: tensor for name, tensor in graph.tensors.items() if name not in names}
    outer = ports(dtype, shape, index)
    return replace(graph, tensors={**rest, **outer}, ops=ops, inputs=tuple(outer))


def handing_on(name: str, dtype: str, shape: Shape, index: str) -> Graph:
    """A branch without layers that gives an input."""
    outer = ports(dtype, shape, index)
    return Graph("handing_on", outer, (), tuple(outer), (name,))


def constant(dtype: str, shape: Shape, index: str) -> Graph:
    """A branch without layers that gives zeros."""
    outer = ports(dtype, shape, index)
    codes = np.full(shape, 0 if dtype == "float32" else ZERO, outer["x"].dtype)
    tensors = {**outer, "zeros": replace(outer["x"], name="zeros", data=codes)}
    return Graph("zeros", tensors, (), tuple(outer), ("zeros",))


def random_branch(draw: Draw, dtype: str, shape: Shape, index: str, nested: int) -> Branch:
    """The operator; it reads `index`, and those within it `inner`.

    Args:
        nested: how deep branches may lie in its branches.
    """
    count = 2 if index == "bool" else draw.integer(1, 4)
    return Branch(
        name="choice",
        inputs=("index", "x", "side", "inner"),
        outputs=("y",),
        branches=tuple(_random(draw, dtype, shape, index, nested) for _ in range(count)),
    )


def _random(draw: Draw, dtype: str, shape: Shape, index: str, nested: int) -> Graph:
    kind = draw.integer(0, 9 if nested else 6)
    if kind == 0:
        return handing_on(draw.choice(["x", "side"]), dtype, shape, index)
    if kind == 1:
        return constant(dtype, shape, index)
    if kind <= 6:
        return layers(draw.choice(list(BODIES)), dtype, shape, index, draw.integer(0, 9999))
    op = random_branch(draw, dtype, shape, index, nested - 1)
    outer = ports(dtype, shape, index)
    tensors = {**outer, "y": replace(outer["x"], name="y")}
    return Graph("nested", tensors, (replace(op, inputs=("inner", *op.inputs[1:])),), tuple(outer), ("y",))


def random_graph(draw: Draw, name: str) -> Graph:
    """Layers, a branch operator with others in it, layers."""
    dtype, index = draw.choice(["int8", "int8", "float32"]), draw.choice(["int8", "int32", "bool"])
    shape = (1, draw.integer(2, 6), draw.integer(2, 6), draw.integer(1, 5))
    op = random_branch(draw, dtype, shape, index, draw.integer(0, 2))
    outer = ports(dtype, shape, index)
    tensors = {**outer, "y": replace(outer["x"], name="y"), "index": replace(outer["inner"], name="index")}
    graph = Graph(name, tensors, (op,), ("index", "inner", "x", "side"), ("y",))
    if draw.yes():
        head = layers("conv", dtype, shape, index, draw.integer(0, 9999))
        graph = _behind(graph, _renamed(head, "head_", {"x": "x"}), "x")
    graph.validate()
    return graph


def _renamed(graph: Graph, prefix: str, kept: dict[str, str]) -> Graph:
    """The graph with all names but `kept` led by `prefix`, and without inputs that nothing reads."""
    names = {name: kept.get(name, prefix + name) for name in graph.tensors}
    read = {name for op in graph.ops for name in op.inputs}
    ops = tuple(
        replace(
            op,
            name=prefix + op.name,
            inputs=tuple(names.get(name, "") for name in op.inputs),
            outputs=tuple(names[name] for name in op.outputs),
        )
        for op in graph.ops
    )
    tensors = {
        names[n]: replace(t, name=names[n]) for n, t in graph.tensors.items() if n in read or n not in graph.inputs
    }
    outputs = tuple(names[name] for name in graph.outputs)
    return Graph(graph.name, tensors, ops, tuple(kept.values()), outputs)


def _behind(graph: Graph, head: Graph, name: str) -> Graph:
    """The graph whose operators read what `head` makes of an input instead of that."""
    (made,) = head.outputs
    ops = tuple(replace(op, inputs=tuple(made if i == name else i for i in op.inputs)) for op in graph.ops)
    return replace(graph, tensors={**head.tensors, **graph.tensors}, ops=(*head.ops, *ops))


def random_samples(graph: Graph, seed: int) -> list[list[np.ndarray]]:
    """Every index, two that no branch has, and random ones of the branches within."""
    rng = np.random.default_rng(seed)
    tensors = [graph.tensors[name] for name in graph.inputs]
    is_bool = tensors[0].dtype == np.bool_
    indices = [0, 1] if is_bool else [-1, 0, 1, 2, 3, 4]
    rows = []
    for index in indices:
        row = [np.full(tensors[0].shape, index).astype(tensors[0].dtype)]
        for tensor in tensors[1:]:
            if tensor.dtype == np.float32:
                row.append(rng.normal(size=tensor.shape).astype(np.float32))
            elif tensor.name == "inner":
                row.append(rng.integers(0 if is_bool else -1, 2 if is_bool else 5, tensor.shape).astype(tensor.dtype))
            else:
                row.append(rng.integers(-128, 128, tensor.shape).astype(tensor.dtype))
        rows.append(row)
    return rows


def gated(name: str = "gated", size: int = 8, bodies: tuple[str, ...] = ("deep", "conv", "relu")) -> Graph:
    """An image, a small network that says which branch it takes, and the branches."""
    shape = (1, size, size, 4)
    net = Network(5)
    x = spec("int8", shape)
    gate = net.pool(net.conv(x, len(bodies), 3, relu=False), size, 1, average=True, same=False)
    net.reshape(gate, (1, len(bodies)))
    head = _renamed(read_tflite(net.model(), name=name), "gate_", {})
    image, (scores,) = head.ops[0].inputs[0], head.outputs
    outer = ports("int8", shape, "int32")
    head = replace(head, ops=tuple(replace(op, inputs=_with(op.inputs, image, "x")) for op in head.ops))
    choose = ArgMax(name="choose", inputs=(scores,), outputs=("index",), axis=1)
    op = Branch(
        name="experts",
        inputs=("index", "x", "x", "index"),
        outputs=("y",),
        branches=tuple(layers(body, "int8", shape, "int32", 7 + i) for i, body in enumerate(bodies)),
    )
    tensors = {n: t for n, t in head.tensors.items() if n != image}
    tensors |= {"x": outer["x"], "y": replace(outer["x"], name="y"), "index": replace(outer["inner"], name="index")}
    graph = Graph(name, tensors, (*head.ops, choose, op), ("x",), ("y",))
    graph.validate()
    return graph


def _with(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)
