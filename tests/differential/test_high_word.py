"""Small sums with steep scales in one multiplication; odd weights of 9 bits with codes of 16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.differential.test_scalar import ESP32C3, check_layers
from tests.support import integer_layers
from tests.support.integer_layers import Layer, affine, levels
from tests.support.shares import one_in
from tinygen.bench.lowbit import spreading_epilogue
from tinygen.ir.encodings import Affine, PowerOfTwo
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.conv import conv_2d_scalar
from tinygen.lowering.kernels.depthwise.depthwise_conv_2d_scalar import job_of
from tinygen.lowering.kernels.support.epilogues.high_word import high_word_epilogue
from tinygen.lowering.lower import lower


def steep() -> list[Layer]:
    """Depthwise ternary layers whose sums spread over the codes; one output, strides, zero points, a dead channel."""
    found = []
    for i, x in enumerate((affine(-128), levels(8), levels(4), levels(2), affine(17))):
        layer = integer_layers.conv(
            f"t{i}", (5, 1 + 3 * (i % 2), 5), 5, (3, 3), groups=5, x=x, w=integer_layers.TERNARY, y=x, seed=i
        )
        weights = layer.graph.tensors["w"]
        codes = weights.data.copy()
        codes[0] = 0
        tensors = {**layer.graph.tensors, "w": replace(weights, data=codes)}
        flat = weights.integer.integers(weights.data).reshape(5, -1).astype(float)
        (op,) = layer.graph.ops
        op = replace(op, epilogue=spreading_epilogue(x, flat, np.random.default_rng(i)))  # type: ignore[call-arg]
        found.append(replace(layer, graph=replace(layer.graph, tensors=tensors, ops=(op,))))
    return found


def odd() -> list[Layer]:
    """Windows of several pieces and of one; a dense layer."""
    powers, w = PowerOfTwo((1.0,), exponents=14), levels(8, True)
    conv = integer_layers.conv("o0", (4, 5, 9), 5, (2, 3), x=powers, w=w, y=levels(8), seed=1)
    wide = integer_layers.conv("o1", (5, 4, 6), 4, (1, 1), x=Affine("int16", (1.0,), (0,)), w=w, y=levels(8), seed=2)
    return [conv, wide, integer_layers.dense("o2", (13,), 5, x=powers, w=w, y=affine(3), seed=3)]


def on_grid(graph: Graph) -> bool:
    """Whether weights are stored as bytes w that stand for 2 * w + 1."""
    (node,) = graph.nodes()
    assert isinstance(node.op, Conv2D | FullyConnected)
    job = conv_2d_scalar.job_of(node, "conv_2d")
    assert job is not None and job.copy.dtype == np.int16
    return job.grid == (2, 1)


def test_every_sum() -> None:
    """Every code of every sum, and nothing on the way beyond 32 bits."""
    found = 0
    for layer in steep():
        (node,) = layer.graph.nodes()
        job = job_of(node)
        assert job is not None
        staircase, bias = job.staircase()
        ending = high_word_epilogue(staircase, bias)
        if staircase is None or ending is None:
            continue
        found += 1
        context, columns = ending.context, dict(zip((f.name for f in ending.fields), ending.rows.T, strict=True))
        offset, multiplier = (columns.get(name, context[name]) for name in ("offset", "multiplier"))
        for channel, (low, high) in enumerate(zip(staircase.lows.tolist(), staircase.highs.tolist(), strict=True)):
            sums = np.clip(np.arange(low, high + 1)[:, None], staircase.lows, staircase.highs)
            raised = (sums - bias + columns["bias"]) << context["sum_up"]
            scaled = offset + (raised * multiplier >> 32)
            assert np.abs(raised).max() < 2**31 and np.abs(scaled).max() < 2**31
            codes = np.clip(scaled >> context["shift"], staircase.floor, staircase.ceiling)
            wanted = np.clip(staircase.codes(sums), staircase.floor, staircase.ceiling)
            assert np.array_equal(codes[:, channel], wanted[:, channel])
    assert found >= 4


@one_in(3)
def test_layers(every: int) -> None:
    layers = [*steep(), *odd()]
    plans = [lower(layer.graph, isa=ESP32C3.isa).layers[0].plan for layer in layers]
    assert sum(plan.context.get("form") == "high_word" for plan in plans) >= 4
    assert all(on_grid(layer.graph) for layer in odd())
    assert check_layers(layers[::every], part="scalar") >= len(layers) // every


def test_room_for_weights_on_a_grid() -> None:
    """Sums near the largest: without the 1 of odd weights, -255 being 2 * -128 + 1, they would leave 32 bits."""
    layer = integer_layers.dense("r", (513,), 4, x=PowerOfTwo((1.0,), exponents=15), w=levels(8, True), y=levels(4))
    weights = layer.graph.tensors["w"]
    least = np.full_like(weights.data, weights.integer.code_range[0])
    least[:, :2] = weights.integer.code_range[1], 1
    graph = replace(layer.graph, tensors={**layer.graph.tensors, "w": replace(weights, data=least)})
    assert not on_grid(graph)
