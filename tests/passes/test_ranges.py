"""No code leaves its range, operator by operator, for inputs of any range."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest

from tests.differential import test_binary as binary
from tests.differential import test_conv_2d as conv_2d
from tests.differential import test_fully_connected as fully_connected
from tests.differential import test_movement as movement
from tests.differential import test_pool_2d as pool_2d
from tests.differential import test_reduce as reduce
from tests.differential import test_unary as unary
from tests.support.cases import Case, draws
from tests.support.layers import conv, image, weights
from tests.support.tflite_builder import build
from tinygen.errors import TinygenError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.passes.ranges import Range, channel_ranges, is_quantized

SUMS = ("ADD", "SUB")
UNARY = ("RELU", "RELU6", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH", "ABS")
TYPES = ("int8", "int16")
CASES: dict[str, Case] = {
    **{
        f"{name} {kind}": partial(binary.case, name=name, dtype=kind)
        for name in (*SUMS, "MUL", "MAXIMUM")
        for kind in TYPES
    },
    **{f"{name} shifts": partial(binary.power_of_two, name=name) for name in SUMS},
    **{name: partial(unary.case, name=name, source="int8") for name in UNARY},
    "QUANTIZE": partial(unary.case, name="QUANTIZE", source="uint8", target="int8"),
    **{f"CONV_2D {kind}": partial(conv_2d.conv_case, dtype=kind, depthwise=False) for kind in TYPES},
    **{f"DEPTHWISE_CONV_2D {kind}": partial(conv_2d.conv_case, dtype=kind, depthwise=True) for kind in TYPES},
    **{f"FULLY_CONNECTED {kind}": partial(fully_connected.dense, dtype=kind) for kind in TYPES},
    **{name: partial(pool_2d.case, name=name, dtype="int8") for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    **{name: partial(reduce.reduce_case, name=name, dtype="int8") for name in ("MEAN", "REDUCE_MAX", "REDUCE_MIN")},
    **{name: partial(movement.pad, name=name, dtype="int8") for name in ("PAD", "PADV2", "MIRROR_PAD")},
    "CONCATENATION": partial(movement.concatenation, dtype="int8"),
    "PACK": partial(movement.pack, dtype="int8"),
    "UNPACK": partial(movement.unpack, dtype="int8"),
    "SPLIT": partial(movement.split, dtype="int8"),
    "STRIDED_SLICE": partial(movement.strided_slice, dtype="int8"),
    "TRANSPOSE": partial(movement.transpose, dtype="int8"),
    "RESHAPE": partial(movement.reshape, name="RESHAPE", dtype="int8"),
    "PRELU": partial(movement.prelu, dtype="int8"),
}
WRAPPING = ("CONV_2D int8", "CONV_2D int16", "DEPTHWISE_CONV_2D int8", "FULLY_CONNECTED int8", "MUL int8", "MUL int16")


def narrow(graph: Graph, rng: np.random.Generator) -> dict[str, Range]:
    """A random interval per channel of each input."""
    found = {}
    for tensor in (graph.tensors[name] for name in graph.inputs):
        if is_quantized(tensor):
            info = np.iinfo(tensor.dtype)
            ends = rng.integers(info.min, info.max + 1, (2, tensor.shape[-1]))
            found[tensor.name] = Range(ends.min(axis=0), ends.max(axis=0))
    return found


def check(graph: Graph, rng: np.random.Generator, inputs: dict[str, Range]) -> dict[str, Range]:
    ranges = channel_ranges(graph, inputs)
    for index in range(6):
        sample = []
        for tensor in (graph.tensors[name] for name in graph.inputs):
            known = ranges[tensor.name]
            low, high = np.broadcast_to(known.low, tensor.shape), np.broadcast_to(known.high, tensor.shape)
            codes = {0: low, 1: high}.get(index, rng.integers(low, high + 1))
            sample.append(codes.astype(tensor.dtype))
        values = evaluate_all(graph, sample)
        for name, known in ranges.items():
            assert (values[name] >= known.low).all() and (values[name] <= known.high).all(), (name, graph.ops)
    return ranges


@pytest.mark.parametrize("name", CASES)
def test_no_code_leaves_its_range(name: str) -> None:
    narrower = []
    for draw in draws(f"range of {name}", 20):
        graph = read_tflite(build(CASES[name](draw)))
        ranges = check(graph, draw.rng, narrow(graph, draw.rng))
        output = graph.tensors[graph.outputs[0]]
        if is_quantized(output):
            info, known = np.iinfo(output.dtype), ranges[output.name]
            narrower.append(bool((known.low > info.min).any() or (known.high < info.max).any()))
    # PRELU has no rule of its own.
    assert any(narrower) != (name == "PRELU")


@pytest.mark.parametrize("name", WRAPPING)
def test_arithmetic_that_wraps(name: str) -> None:
    """Output scales so small that shifted accumulators leave their 32 or 64 bits."""
    read = 0
    for draw in draws(f"wrapping {name}", 40):
        spec = CASES[name](draw)
        scale = spec.outputs[0].scale
        assert isinstance(scale, float)
        smaller = dataclasses.replace(spec.outputs[0], scale=max(scale * 10.0 ** -draw.rng.uniform(1, 12), 1e-12))
        try:
            graph = read_tflite(build(dataclasses.replace(spec, outputs=[smaller])))
        except TinygenError:
            continue
        check(graph, draw.rng, narrow(graph, draw.rng))
        read += 1
    assert read > 5


@pytest.mark.parametrize("scale", [0.05, 1e-7])
def test_a_layer_that_shifts_left(scale: float) -> None:
    """Channel by channel: those whose accumulators could wrap may give anything, the others may not."""
    x, y = image(3), dataclasses.replace(image(4), scale=scale)
    graph = read_tflite(build(conv(x, y, weights(4, 1, 1, 3) // 8, [0, 2**31 - 1000, -(2**31), 5])))
    ranges = check(graph, np.random.default_rng(1), {})
    full = (ranges[graph.outputs[0]].low == -128) & (ranges[graph.outputs[0]].high == 127)
    assert full.tolist() == ([True] * 4 if scale < 1e-3 else [False, True, True, False])


def test_each_channel_has_its_own_range() -> None:
    graph = read_tflite(build(conv(image(3), image(2), np.array([[[[1, 0, 0]]], [[[0, 0, 0]]]], np.int8), [0, 100])))
    found = channel_ranges(graph)[graph.outputs[0]]
    assert found.constant.tolist() == [False, True]
    assert found.low[0] < found.high[0]
