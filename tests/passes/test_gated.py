"""What passes make of gated networks: the same codes, in streams and in branches too."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.passes.test_to_streaming import assert_streams
from tests.support.differential import compare_code
from tests.support.gated import Gated, Maker, feeds_of, gated_conv
from tests.support.integer_layers import INT8
from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import ChannelList, Plain
from tinygen.ir.gated import lists_of
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.top_k import TopK
from tinygen.passes.pipeline import simplify

METHODS = (
    Method(Fraction(1, 2), 3),
    Method(Fraction(1, 3), predictor=True),
    Method(predictor=True),
    Method(experts=2),
)


def _network(method: Method) -> Graph:
    return gated_network("g", (ConvLayer(6), ConvLayer(5, stride=2)), (8, 5, 3), method)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_streams_choose_for_each_window(method: Method) -> None:
    assert_streams(_network(method), hop=2, steps=5)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_simple_graphs_mean_the_same(method: Method) -> None:
    graph, rng = _network(method), np.random.default_rng(1)
    simple = simplify(graph)
    for _ in range(4):
        x = rng.integers(-128, 128, (1, 8, 5, 3)).astype(np.int8)
        assert np.array_equal(evaluate(graph, [x])[0], evaluate(simple, [x])[0])


def _branches() -> Graph:
    """A list that is made outside is read in both branches: one scatters, one gathers again by its own gate."""
    build = Maker("branches")
    index = build.input("index", (1,), Plain("int8"))
    x = build.input("x", (1, 3, 3, 6), INT8)
    scores = build.input("in_scores", (1, 6), INT8)
    values, live = build.add(TopK, [scores], INT8, ChannelList(6), k=4, by_position=True)
    (kept,) = build.add(GatherChannels, [x, live], INT8)
    ports = [("kept", (1, 3, 3, 4), INT8), ("live", (1, 4), ChannelList(6)), ("values", (1, 4), INT8)]
    inner = []
    for own_gate in (False, True):
        within = Maker("inner")
        a, b, c = (within.input(*port) for port in ports)
        if own_gate:
            _, again = within.add(TopK, [c], INT8, ChannelList(4), k=2, by_position=True)
            (few,) = within.add(GatherChannels, [a, again], INT8)
            (back,) = within.add(ScatterChannels, [few, again], INT8)
            (y,) = within.add(ScatterChannels, [back, b], INT8)
        else:
            (y,) = within.add(ScatterChannels, [a, b], INT8)
        inner.append(within.graph(y))
    build.tensors["y"] = replace(build.tensors[x], name="y")
    build.ops.append(Branch(name="choice", inputs=(index, kept, live, values), outputs=("y",), branches=tuple(inner)))
    return build.graph("y")


def test_lists_in_branches() -> None:
    graph = _branches()
    Network.of(graph).validate()
    assert [name.startswith("choice/1/") for name, _ in lists_of(graph)] == [False, True]
    rng = np.random.default_rng(2)
    feeds = [
        [
            np.array([number], np.int8),
            *(rng.integers(-128, 128, graph.tensors[n].shape).astype(np.int8) for n in graph.inputs[1:]),
        ]
        for number in (0, 1, 1)
    ]
    expected = [evaluate(graph, feed) for feed in feeds]
    assert [np.count_nonzero(np.any(one[0] != 0, axis=(0, 1, 2))) for one in expected] == [4, 2, 2]
    compare_code([graph], [feeds], [expected], ["gated channels in branches"], on_board=False)


def test_layers_without_a_reader_go() -> None:
    """A gate whose list nothing reads is removed with its head."""
    graph = gated_conv(Gated(name="m", image=(4, 4, 6), filters=5, live=(3, 2)))
    few = replace(graph, outputs=graph.outputs[2:])
    simple = simplify(few)
    assert [op.KIND for op in simple.ops] == ["top_k"]
    feed = feeds_of(graph, np.random.default_rng(3))[0]
    assert np.array_equal(evaluate(simple, feed)[0], evaluate(graph, feed)[2])
