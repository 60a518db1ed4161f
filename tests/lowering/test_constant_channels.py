"""Channels without weights are nothing but their bias: they do not slow the layer that they are in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.differential import compare_code
from tests.support.networks import Network
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower

CHANNEL = 3


def _conv(network: Network) -> None:
    network.conv(network.input(6, 6, 8), 8, 3, relu=False)


def _pointwise(network: Network) -> None:
    network.conv(network.input(6, 6, 8), 8, 1)


def _depthwise(network: Network) -> None:
    network.depthwise(network.input(6, 6, 8), 3)


def _wide(network: Network) -> None:
    """One pixel: a dense layer in all but name."""
    network.conv(network.input(1, 1, 40), 12, 1)


LAYERS: dict[str, Callable[[Network], None]] = {
    "conv": _conv,
    "pointwise": _pointwise,
    "depthwise": _depthwise,
    "wide": _wide,
}


def whole(name: str) -> Graph:
    network = Network(5)
    LAYERS[name](network)
    return network.graph(name)


def with_constant(name: str, bias: int) -> Graph:
    """The same with one channel of no weights, whose bias stands for what it did before: its scale is made for it."""
    graph = whole(name)
    (op,) = graph.ops
    weights, codes = graph.tensors[op.inputs[1]], graph.tensors[op.inputs[2]]
    assert weights.data is not None and codes.data is not None
    axis = weights.affine.axis
    assert axis is not None
    data, values = weights.data.copy(), codes.data.copy()
    np.moveaxis(data, axis, 0)[CHANNEL] = 0
    factor = int(values[CHANNEL]) / bias
    values[CHANNEL] = bias
    scales = [np.array(tensor.affine.scale) for tensor in (weights, codes)]
    for scale in scales:
        scale[CHANNEL] *= abs(factor)
    changed = {
        tensor.name: replace(tensor, data=new, encoding=replace(tensor.affine, scale=tuple(scale.tolist())))
        for tensor, new, scale in zip((weights, codes), (data, values), scales, strict=True)
    }
    return replace(graph, name=f"{name}_{abs(bias)}", tensors={**graph.tensors, **changed})


def plan(graph: Graph) -> tuple[str, Any]:
    """Kernel and form of the epilogue, on a Cortex-M7."""
    (step,) = lower(graph, family="tinygen", isa=("c99", "dsp", "dual-issue")).steps
    return step.kernel.name, step.plan.context["form"]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bias", [-(2**30), 2**31 - 1])
def test_the_layer_is_multiplied_as_without(name: str, bias: int) -> None:
    assert plan(with_constant(name, bias)) == plan(whole(name))
    assert plan(whole(name))[1] == ("stepwise" if name == "conv" else "fused")


def test_codes_are_the_semantics_own() -> None:
    """Every kernel family on the host, and in the emulated core."""
    graphs = [with_constant(name, bias) for name in LAYERS for bias in (-(2**30), 2**31 - 1)]
    rng = np.random.default_rng(0)
    feeds = [[[rng.integers(-128, 128, g.tensors[g.inputs[0]].shape, np.int8)] for _ in range(2)] for g in graphs]
    expected = [[evaluate(graph, x) for x in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, ["constant channels"] * len(graphs), on_board=True)
