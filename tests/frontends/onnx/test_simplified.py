"""Float networks before they are quantized: constants behind layers become part of them, the numbers stay the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.onnx_models import OnnxNet, kinds
from tinygen.frontends.onnx.file import read_model
from tinygen.frontends.ptq.composed import compose
from tinygen.frontends.ptq.model import FloatModel
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate

Build = Callable[[OnnxNet, str], str]
IMAGE = (1, 4, 6, 5)


def drawn(net: OnnxNet, *shape: int) -> str:
    return net.constant(np.random.default_rng(sum(shape)).uniform(0.3, 1, shape))


def conv(n: OnnxNet, x: str) -> str:
    return n.node("Conv", x, drawn(n, 3, 4, 3, 3))


def depthwise(n: OnnxNet, x: str) -> str:
    return n.node("Conv", x, drawn(n, 4, 1, 3, 3), drawn(n, 4), group=4)


def transposed(n: OnnxNet, x: str) -> str:
    return n.node("ConvTranspose", x, drawn(n, 4, 3, 2, 2), strides=[2, 2])


def dense(n: OnnxNet, x: str) -> str:
    return n.node("MatMul", n.node("Flatten", x), drawn(n, 120, 3))


def simplified(build: Build) -> tuple[Graph, Graph, np.ndarray]:
    """(as it is read, simplified, an input)."""
    net = OnnxNet()
    model = read_model(net.content(build(net, net.input(*IMAGE))))
    shape = model.graph.tensors["x"].shape
    return model.graph, model.simplified(), np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


def same_numbers(one: Graph, other: Graph, x: np.ndarray) -> bool:
    found, wanted = evaluate(one, [x])[0], evaluate(other, [x])[0]
    return bool(np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("layer", [conv, depthwise, transposed, dense])
def test_constants_behind_a_layer_become_part_of_it(layer: Callable[[OnnxNet, str], str]) -> None:
    def build(n: OnnxNet, x: str) -> str:
        x = layer(n, x)
        shape = (4 if layer is depthwise else 3, *([] if layer is dense else [1, 1]))
        x = n.node("Sub", n.node("Mul", drawn(n, *shape), x), drawn(n, *shape))
        return n.node("Relu", n.node("Add", n.node("Mul", x, n.constant(0.5)), n.constant(0.25)))

    before, after, x = simplified(build)
    assert same_numbers(before, after, x)
    assert not {"mul", "sub", "add", "clamp"} & {*kinds(after)} and {"mul", "sub", "add"} < {*kinds(before)}


def read_twice(n: OnnxNet, x: str) -> str:
    x = conv(n, x)
    return n.node("Concat", x, n.node("Mul", x, drawn(n, 3, 1, 1)), axis=1)


KEPT: dict[str, Build] = {
    "along rows": lambda n, x: n.node("Mul", conv(n, x), drawn(n, 4, 1)),
    "minus the layer": lambda n, x: n.node("Sub", n.constant(1.0), conv(n, x)),
    "behind an activation": lambda n, x: n.node("Mul", n.node("Relu", conv(n, x)), drawn(n, 3, 1, 1)),
    "layer read twice": read_twice,
    "larger than the layer": lambda n, x: n.node("Add", dense(n, x), drawn(n, 5, 3)),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_stays(name: str) -> None:
    before, after, x = simplified(KEPT[name])
    assert same_numbers(before, after, x)
    assert {"mul", "sub", "add"} & {*kinds(after)}


def hard_gate(n: OnnxNet, x: str) -> str:
    """x * clamp(x + 3, 0, 6) / 6 is one function of x."""
    gate = n.node("Clip", n.node("Add", x, n.constant(3.0)), n.constant(0.0), n.constant(6.0))
    return n.node("Div", n.node("Mul", x, gate), n.constant(6.0))


def two_inputs_of_a_sum(n: OnnxNet, x: str) -> str:
    """Functions of two tensors stay apart."""
    y = conv(n, n.node("Pad", x, n.constant([0, 0, 1, 1, 0, 0, 1, 1], "int64")))
    x = n.node("Slice", x, *(n.constant([v], "int64") for v in (0, 3, 1)))
    return n.node("Add", n.node("Exp", n.node("Neg", x)), n.node("Sqrt", n.node("Abs", y)))


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (hard_gate, ["composed"]),
        (two_inputs_of_a_sum, ["pad", "conv_2d", "strided_slice", "composed", "composed", "add"]),
    ],
)
def test_functions_of_one_tensor_are_one(build: Build, wanted: list[str]) -> None:
    before, after, x = simplified(build)
    one = compose(FloatModel(after)).graph
    assert sorted(kinds(one)) == sorted(wanted)
    assert same_numbers(before, one, x)
