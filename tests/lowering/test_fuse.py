"""Which convolutions and additions are joined, and that the graph means the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator

from tests.passes.test_simplify import assert_same_meaning
from tests.support.cases import draws
from tests.support.networks import SCALE, Network
from tests.support.random_networks import random_network
from tests.support.tflite_builder import ModelSpec, TensorSpec, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.lowering.fuse import fuse
from tinygen.lowering.lower import lower
from tinygen.lowering.select import choose

DSP = ("c99", "dsp")


def fused(graph: Graph) -> list[Conv2DAdd]:
    after = fuse(graph, "tinygen", DSP)
    assert_same_meaning(graph, after, np.random.default_rng(1))
    return [op for op in after.ops if isinstance(op, Conv2DAdd)]


def block(net: Network) -> tuple[TensorSpec, TensorSpec]:
    """A layer, and a convolution over it that can be added to it."""
    x = net.conv(net.input(4, 4, 4), 4, 1)
    return x, net.conv(x, 4, 3, relu=False)


def test_joined_whichever_operand_it_is() -> None:
    for turned in (False, True):
        net = Network(1)
        x, y = block(net)
        net.conv(net.add(y, x) if turned else net.add(x, y), 2, 1)
        graph = net.graph()
        (joined,) = fused(graph)
        before = [op for op in graph.ops if isinstance(op, Conv2D)]
        assert joined.inputs == (*before[1].inputs, before[0].outputs[0])
        after = fuse(graph, "tinygen", DSP)
        assert len(after.ops) == len(graph.ops) - 1
        assert before[1].outputs[0] not in after.tensors


def test_of_two_convolutions_the_later() -> None:
    net = Network(2)
    x = net.input(4, 4, 4)
    net.add(net.conv(x, 6, 1, relu=False), net.conv(x, 6, 3, relu=False))
    graph = net.graph()
    (joined,) = fused(graph)
    assert joined.inputs[1] == graph.ops[1].inputs[1]
    assert type(fuse(graph, "tinygen", DSP).ops[0]) is Conv2D


def test_a_chain_of_blocks() -> None:
    net = Network(3)
    x = net.add(*block(net))
    for _ in range(3):
        x = net.add(x, net.conv(net.conv(x, 8, 1), 4, 1, relu=False))
    assert len(fused(net.graph())) == 4


def test_activation_and_missing_bias() -> None:
    """The sum keeps its own activation, the convolution its own; a bias that is not there stays so."""
    net = Network(4)
    x, y = block(net)
    out = TensorSpec(x.shape, "int8", 2 * SCALE, -3)
    chosen = options("AddOptions", fusedActivationFunction=ActivationFunctionType.RELU6)
    net.layers.append(ModelSpec(BuiltinOperator.ADD, [x, y], [out], version=2, **chosen))
    graph = net.graph()
    conv = graph.ops[1]
    bare = replace(graph, ops=(graph.ops[0], replace(conv, inputs=conv.inputs[:2]), graph.ops[2]))
    for each in (graph, bare):
        (joined,) = fused(each)
        assert joined.sum.activation.value == "relu6"
        assert bool(joined.inputs[2]) == (each is graph)


def two_readers() -> Graph:
    net = Network(5)
    x, y = block(net)
    net.conv(net.add(x, y), 2, 1)
    net.conv(y, 2, 1)
    return net.graph()


def model_output() -> Graph:
    net = Network(6)
    x, y = block(net)
    net.add(x, y)
    graph = net.graph()
    return replace(graph, outputs=(*graph.outputs, graph.ops[1].outputs[0]))


def twice_the_same() -> Graph:
    net = Network(7)
    _, y = block(net)
    net.add(y, y)
    return net.graph()


def broadcast() -> Graph:
    net = Network(8)
    x = net.input(4, 4, 4)
    y = net.conv(x, 4, 1, relu=False)
    pooled = net.pool(x, 4, 1, average=True, same=False)
    net.add(y, pooled)
    return net.graph()


def depthwise() -> Graph:
    net = Network(9)
    x = net.input(4, 4, 4)
    net.add(x, net.depthwise(x))
    return net.graph()


def batch_of_two() -> Graph:
    net = Network(10)
    x = TensorSpec((2, 4, 4, 4), "int8", SCALE, 3)
    y = net.conv(x, 4, 1, relu=False)
    batched = TensorSpec(x.shape, "int8", y.scale, y.zero_point)
    net.layers[-1].outputs = [batched]
    net.add(x, batched)
    return net.graph()


@pytest.mark.parametrize("make", [two_readers, model_output, twice_the_same, broadcast, depthwise, batch_of_two])
def test_left_apart(make: Callable[[], Graph]) -> None:
    graph = make()
    assert any(type(op) is Add for op in graph.ops)
    assert not fused(graph)


def test_left_apart_without_a_linear_form(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Network(1)
    net.add(*block(net))
    graph = net.graph()
    assert fused(graph)
    monkeypatch.setattr("tinygen.lowering.fuse.fit_sum", lambda node: None)
    assert not fused(graph)


def test_left_apart_where_only_the_other_order_has_a_linear_form() -> None:
    """Scales that calibration found: a + b has one, b + a has none, and the convolution's output is b."""
    net = Network(1)
    x, y = block(net)
    net.add(x, y)
    graph = net.graph()
    add = next(op for op in graph.ops if type(op) is Add)
    encodings = (("0x1.b5ef2ap-6", -15), ("0x1.31d3e8p-6", 24), ("0x1.da585ap-6", 15))
    tensors = dict(graph.tensors)
    for name, (scale, zero) in zip((*add.inputs, *add.outputs), encodings, strict=True):
        tensors[name] = replace(tensors[name], encoding=Affine("int8", (float.fromhex(scale),), (zero,)))
    found = replace(graph, tensors=tensors)
    assert not fused(found)
    lower(found, isa=DSP)


@pytest.mark.parametrize(("family", "isa"), [("reference", DSP), ("cmsis-nn", DSP), ("tinygen", ("c99",))])
def test_other_families_and_cores_get_the_graph_as_it_is(family: str, isa: tuple[str, ...]) -> None:
    net = Network(1)
    net.add(*block(net))
    graph = net.graph()
    assert fuse(graph, family, isa) is graph


def test_random_networks() -> None:
    """They mean the same, and every joined pair has a kernel."""
    joined = 0
    for draw in draws("joined", 60):
        rng = draw.rng
        net_graph = read_tflite(random_network(rng, draw.integer(2, 8)).model())
        after = fuse(net_graph, "tinygen", DSP)
        assert_same_meaning(net_graph, after, rng)
        for node in after.nodes():
            if isinstance(node.op, Conv2DAdd):
                assert choose(node, "tinygen", DSP).variants
                joined += 1
    assert joined > 10
