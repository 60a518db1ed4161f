"""Filters that are zero, or as good as that, cost the other filters of their layer nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tinygen
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.nn import calibrate, convert

FILTER = 3
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(8, 8, 3, padding=1), (8, 6, 6)),
    "pointwise": (lambda: nn.Conv2d(16, 8, 1), (16, 6, 6)),
    "dense": (lambda: nn.Linear(64, 12), (64,)),
}


def exported(name: str, way: str, weights: float | None, bias: float = 0.3) -> Graph:
    """One layer, in which a filter's weights may be all alike; by TFLite's rules, or of tinygen.nn's layers."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(8, *shape)
    if weights is not None:
        with torch.no_grad():
            layer.weight[FILTER], layer.bias[FILTER] = weights, bias
    if way == "ptq":
        return tinygen.export(nn.Sequential(layer), x[:1], x)
    network = convert(nn.Sequential(layer, nn.ReLU()), "int8").eval()
    calibrate(network, [x])
    return tinygen.export(network, x[:1])


def plan(graph: Graph) -> tuple[str, Any]:
    (step,) = lower(graph, family="tinygen", isa=("c99", "dsp", "dual-issue")).steps
    return step.kernel.name, step.plan.context.get("form")


@pytest.mark.parametrize(("name", "way"), [("conv", "ptq"), ("dense", "ptq"), ("conv", "nn"), ("pointwise", "nn")])
def test_the_layer_is_multiplied_as_without(name: str, way: str) -> None:
    usual = plan(exported(name, way, None))
    for weights, bias in ((0.0, 0.02), (1e-9, 0.0)):
        assert plan(exported(name, way, weights, bias)) == usual, (weights, bias)


@pytest.mark.parametrize("weights", [0.0, 1e-9])
def test_scale_of_a_neighbour(weights: float) -> None:
    graph = exported("dense", "ptq", weights)
    (op,) = graph.ops
    encoding, codes = graph.tensors[op.inputs[1]].affine, graph.tensors[op.inputs[1]].data
    assert codes is not None and encoding.scale[FILTER] == max(s for i, s in enumerate(encoding.scale) if i != FILTER)
    assert not codes[FILTER].any() and codes[FILTER - 1].any()
    x = np.random.default_rng(0).integers(-128, 128, (1, 64), np.int8)
    output = graph.tensors[graph.outputs[0]]
    real = (int(evaluate(graph, [x])[0][0, FILTER]) - output.zero_point) * output.scale
    assert abs(real - 0.3) <= 0.51 * output.scale


def test_a_large_bias_beside_weights_that_count_keeps_them() -> None:
    """Together they add a hundredth of the bias: that is a code and more."""
    graph = exported("dense", "ptq", 0.3 / 64 / 4 / 100)
    codes = graph.tensors[graph.ops[0].inputs[1]].data
    assert codes is not None and abs(int(codes[FILTER, 0])) > 100
