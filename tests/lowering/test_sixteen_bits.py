"""Layers of 16-bit activations as layers on integer codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.host_batch import run_on_host
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.kernels.support.loops.sixteen_bits import on_codes, sums_on_codes
from tinygen.lowering.lower import lower
from tinygen.lowering.select import choose

_HALVES = Affine("int16", (0.001,), (0,))
_SAME: dict[str, Any] = {"padding": Padding.SAME, "stride": (1, 1)}
_NAMES: dict[str, Any] = {"name": "layer", "inputs": ("x", "w", "b"), "outputs": ("y",)}


def _node(op: Op, x: Shape, weights: np.ndarray, y: Shape, scale: float = 0.01) -> Node:
    axis = 3 if isinstance(op, DepthwiseConv2D) else 0
    channels = weights.shape[axis]
    scales = (scale,) if isinstance(op, FullyConnected) else tuple(scale * (1.0 + i / 8) for i in range(channels))
    each = Affine("int8", scales, (0,) * len(scales), axis if len(scales) > 1 else None)
    bias = np.arange(channels) * 12345 - 7
    tensors = (
        Tensor("x", x, _HALVES),
        Tensor("w", weights.shape, each, weights.astype(np.int8)),
        Tensor("b", (channels,), Affine("int64", (1.0,), (0,)), bias),
    )
    node = Node(op, tensors, (Tensor("y", y, Affine("int16", (0.0015,), (0,))),))
    node.check()
    return node


def _layer(kind: str, seed: int = 1) -> Node:
    rng = np.random.default_rng(seed)
    if kind == "dense":
        return _node(FullyConnected(**_NAMES), (1, 96), rng.integers(-127, 128, (16, 96)), (1, 16))
    if kind == "depthwise":
        op: Op = DepthwiseConv2D(**_NAMES, **_SAME)
        return _node(op, (1, 5, 4, 3), rng.integers(-127, 128, (1, 3, 3, 6)), (1, 5, 4, 6))
    return _node(Conv2D(**_NAMES, **_SAME), (1, 5, 4, 3), rng.integers(-127, 128, (6, 3, 3, 3)), (1, 5, 4, 6))


@pytest.mark.parametrize("kind", ["convolution", "depthwise"])
def test_codes_are_the_same(kind: str) -> None:
    node = _layer(kind)
    found = on_codes(node)
    assert found is not None
    x = np.random.default_rng(2).integers(-(2**15), 2**15, node.input(0).shape).astype(np.int16)
    wanted = node.op.evaluate(node, [x, node.constant(1), node.constant(2)])[0]
    assert len(np.unique(wanted)) > 50
    assert np.array_equal(found.op.evaluate(found, [x, found.constant(1)])[0], wanted)


@pytest.mark.parametrize("scale", [0.02, 0.04, 0.08])
def test_bounds_within_a_byte(scale: float, tmp_path: Path) -> None:
    """Clamped between 0 and 300, 150 or 75: codes above 127 keep their 16 bits in C."""
    node = _layer("convolution")
    tensors = {
        one.name: one
        for one in (*map(node.input, range(3)), replace(node.output, encoding=Affine("int16", (scale,), (0,))))
    }
    op = Conv2D(**_NAMES, **_SAME, epilogue=Tflite(Activation.RELU6))
    graph = Graph("net", tensors, (op,), ("x",), ("y",))
    assert choose(graph.node(op), "tinygen", ("c99", "dsp")).kernel.name.endswith("_16x8")
    x = np.random.default_rng(2).integers(-(2**15), 2**15, node.input(0).shape).astype(np.int16)
    wanted = evaluate(graph, [x])[0]
    assert wanted.max() == int(6 / scale)
    [[[got]]] = run_on_host([lower(graph, isa=("c99", "dsp"))], [[[x]]], tmp_path)
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("isa", [("c99", "dsp"), ("c99", "scalar"), ("c99", "scalar", "armv6m")], ids=lambda i: i[-1])
@pytest.mark.parametrize("kind", ["convolution", "depthwise", "dense"])
def test_no_plain_loops(kind: str, isa: tuple[str, ...]) -> None:
    """Where sums fit 32 bits; they are finished with the upper word of a product."""
    chosen = choose(_layer(kind), "tinygen", isa)
    assert chosen.kernel.name.endswith("_16x8")
    assert chosen.fastest.context["form"] == "fused"


def test_sums_beyond_32_bits_remain() -> None:
    weights = np.full((2, 3, 3, 58), 127)
    node = _node(Conv2D(**_NAMES, **_SAME), (1, 4, 4, 58), weights, (1, 4, 4, 2))
    assert on_codes(node) is None
    assert choose(node, "tinygen", ("c99", "dsp")).kernel.name == "conv_2d_s16"
    assert on_codes(_node(Conv2D(**_NAMES, **_SAME), (1, 4, 4, 57), weights[..., :57], (1, 4, 4, 2))) is not None


def test_scales_that_leave_doubts() -> None:
    """Dense layers for which no multiplier of 31 bits rounds as double precision does."""
    node = _node(FullyConnected(**_NAMES), (1, 96), _layer("dense").constant(1), (1, 16), scale=3.1e-4)
    assert on_codes(node) is None and sums_on_codes(node) is not None
    assert choose(node, "tinygen", ("c99", "dsp")).fastest.context["form"] == "checked"


def test_scales_no_multiplier_is_near() -> None:
    """Dense layers whose products with the scale need more than 30 bits."""
    node = _node(FullyConnected(**_NAMES), (1, 24), np.ones((5, 24), np.int64), (1, 5), scale=3.5e3)
    assert on_codes(node) is None and sums_on_codes(node) is None


@pytest.mark.parametrize("kind", ["convolution", "depthwise"])
def test_sums_beyond_32_bits_of_codes(kind: str) -> None:
    """LiteRT casts them, whose upper bits are lost; tuned kernels clamped them, plain loops did not."""
    layer = _layer(kind)
    weights = np.ones(layer.input(1).shape, np.int64)
    weights[..., 0] = 127
    steepest = 9 * 127 if kind == "depthwise" else 9 * (127 + 2) * (1 + 5 / 8)
    scale = 2**31 * 1.5 / (steepest * 2**15)
    shapes = layer.input(0).shape, weights, layer.output.shape
    _node(layer.op, *shapes, scale=scale * 0.9)
    with pytest.raises(UnsupportedError, match=r"too far apart: sums of .*e\+09 in codes of the output"):
        _node(layer.op, *shapes, scale=scale * 1.1)


def test_biases_that_leave_no_room() -> None:
    layer = _layer("convolution")
    x, weights, bias = map(layer.input, range(3))
    for value in (2**46, -(2**46), 2**47, -(2**47)):
        long = replace(bias, data=np.full(6, value))
        slight = replace(weights, encoding=Affine("int8", (1e-9,), (0,)))
        node = Node(layer.op, (x, slight, long), layer.outputs)
        if abs(value) < 2**47:
            node.check()
        else:
            with pytest.raises(UnsupportedError, match="leave 48 bits"):
                node.check()
