"""PADs are folded into convolutions where that is exact, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.differential import compare_models
from tests.support.networks import Network
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.pad import Pad
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.fold_pad import fold_pad
from tinygen.passes.remove_dead import remove_dead


def raw(net: Network) -> Graph:
    """Before any pass."""
    return remove_dead(fold_constants(read_tflite(net.model(), "net")))


def pads(graph: Graph) -> int:
    return sum(type(op) is Pad for op in graph.ops)


def same(graph: Graph, folded: Graph) -> None:
    rng = np.random.default_rng(3)
    for _ in range(4):
        image = rng.integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
        for a, b in zip(evaluate(graph, [image]), evaluate(folded, [image]), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("borders", [((1, 1), (1, 1)), ((0, 1), (0, 1)), ((2, 0), (1, 2)), ((0, 0), (0, 1))])
def test_folded(stride: int, borders: tuple[tuple[int, int], tuple[int, int]]) -> None:
    net = Network(1)
    x = net.input(9, 10, 4)
    y = net.conv(net.pad(x, *borders), 8, 3, stride, same=False)
    net.depthwise(net.pad(y, *borders), 3, stride, same=False)
    graph = raw(net)
    folded = fold_pad(graph)
    assert (pads(graph), pads(folded)) == (2, 0)
    folded.validate()
    same(graph, folded)


def test_a_pad_with_another_reader_stays_for_it() -> None:
    net = Network(2)
    padded = net.pad(net.input(8, 8, 4), (1, 1), (1, 1))
    net.conv(padded, 4, 3, same=False)
    net.pool(padded, 2, 2)
    graph = raw(net)
    folded = fold_pad(graph)
    assert pads(folded) == 1
    assert sum(padded_name in op.inputs for op in folded.ops for padded_name in folded.ops[0].outputs) == 1
    same(graph, folded)


def test_not_folded() -> None:
    """A border as wide as the window, and a convolution that pads already."""
    net = Network(3)
    x = net.input(8, 8, 4)
    net.conv(net.pad(x, (3, 0), (0, 0)), 4, 3, same=False)
    net.conv(net.pad(x, (1, 1), (1, 1)), 4, 3, same=True)
    graph = raw(net)
    assert fold_pad(graph).ops == graph.ops


def test_another_value_is_not_zero() -> None:
    net = Network(4)
    net.conv(net.pad(net.input(8, 8, 4), (1, 1), (1, 1)), 4, 3, same=False)
    graph = raw(net)
    ops = tuple(replace(op, value=op.value - 1) if isinstance(op, Pad) else op for op in graph.ops)
    odd = replace(graph, ops=ops)
    assert fold_pad(odd).ops == odd.ops


def test_the_c_as_well() -> None:
    net = Network(5)
    y = net.conv(net.pad(net.input(12, 12, 3), (0, 1), (0, 1)), 8, 3, 2, same=False)
    net.depthwise(net.pad(y, (1, 1), (1, 1)), 3, 1, same=False)
    rng = np.random.default_rng(0)
    images = [[rng.integers(-128, 128, (1, 12, 12, 3)).astype(np.int8)] for _ in range(3)]
    compare_models([net.model()], [images], ["padding folded"])
