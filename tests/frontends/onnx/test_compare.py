"""Comparisons and extremes of quantized values: as ONNX Runtime has them, for every code."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.onnx_models import COMPARISONS, OnnxNet, _session
from tinygen.frontends.onnx import read_onnx
from tinygen.ir.interpreter import evaluate

SCALE, ZERO = 0.03, -7
SHAPE = (1, 2, 16, 8)


def compare_with_onnx_runtime(net: OnnxNet, outputs: list[str], codes: dict[str, np.ndarray]) -> None:
    """Bits and codes of every output; `codes` of the inputs, channels first."""
    content = net.content(*outputs)
    real = {name: ((x.astype(np.float32) - ZERO) * np.float32(SCALE)).astype(np.float32) for name, x in codes.items()}
    wanted = _session(content).run(None, real)
    graph = read_onnx(content, "net")
    found = evaluate(graph, [codes[name].transpose(0, 2, 3, 1) for name in graph.inputs])
    for name, ours, theirs in zip(outputs, found, wanted, strict=True):
        if theirs.dtype != np.bool_:
            theirs = np.rint(theirs / np.float32(SCALE)).astype(np.int32) + ZERO
        theirs = theirs.transpose(0, 2, 3, 1) if ours.ndim == theirs.ndim == 4 else theirs
        assert np.array_equal(ours, theirs), name


def test_with_numbers() -> None:
    """On codes, between them, and beyond all; the number on either side."""
    net = OnnxNet()
    x = net.quantize(net.input(*SHAPE), SCALE, ZERO)
    on = [float(np.float32(SCALE) * np.float32(code - ZERO)) for code in (-128, -7, 0, 127)]
    outputs = []
    for number in (*on, 0.4, -0.2, 99.0, -99.0, float("nan")):
        constant = net.constant(number)
        for kind in COMPARISONS:
            outputs += [net.node(kind, x, constant), net.node(kind, constant, x)]
    compare_with_onnx_runtime(net, outputs, {"x": np.arange(-128, 128).astype(np.int8).reshape(SHAPE)})


def test_with_each_other() -> None:
    """Of one scale: exact. A single value against all, on either side, too."""
    net = OnnxNet()
    x, y = (net.quantize(net.input(*SHAPE, name=name), SCALE, ZERO) for name in "xy")
    most = net.node("ReduceMax", y)
    outputs = []
    for kind in COMPARISONS:
        outputs += [net.node(kind, x, y), net.node(kind, x, most), net.node(kind, most, x)]
    rng = np.random.default_rng(3)
    x_codes, y_codes = (rng.integers(-8, 8, SHAPE).astype(np.int8) for _ in "xy")
    compare_with_onnx_runtime(net, outputs, {"x": x_codes, "y": y_codes})


def test_of_two_scales() -> None:
    """In fixed point, as TFLite: values that lie apart compare as floats do."""
    net = OnnxNet()
    x = net.quantize(net.input(*SHAPE), SCALE, ZERO)
    y = net.quantize(net.node("Relu", x), 0.041, 2)
    outputs = [net.node(kind, x, y) for kind in COMPARISONS]
    content = net.content(*outputs)
    codes = np.arange(-128, 128).astype(np.int8).reshape(SHAPE)
    real = (codes.astype(np.float32) - ZERO) * np.float32(SCALE)
    apart = np.abs(real - np.float32(0.041) * np.rint(np.maximum(real, 0) / np.float32(0.041))) > 2**-8
    assert apart.mean() > 0.5
    wanted = _session(content).run(None, {"x": real})
    found = evaluate(read_onnx(content, "net"), [codes.transpose(0, 2, 3, 1)])
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(ours.transpose(0, 3, 1, 2)[apart], theirs[apart])


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMin"])
def test_extremes(kind: str) -> None:
    net = OnnxNet()
    x = net.quantize(net.input(*SHAPE), SCALE, ZERO)
    flat = net.node("Reshape", x, net.constant([1, 2, -1], "int64"))
    outputs = [net.node(kind, x), net.node(kind, x, keepdims=0), net.node(kind, flat, net.constant([-1], "int64"))]
    for axes in ([1], [2, 3], [-1, 1]):
        outputs += [net.node(kind, x, net.constant(axes, "int64"), keepdims=keep) for keep in (0, 1)]
    codes = np.random.default_rng(5).integers(-128, 128, SHAPE).astype(np.int8)
    compare_with_onnx_runtime(net, outputs, {"x": codes})


def test_operands_that_codes_do_not_compare_with() -> None:
    """Several numbers, and rows: compared as floats."""
    for build in (
        lambda n, x: n.node("Greater", x, n.constant(np.linspace(-1, 1, 8))),
        lambda n, x: n.node("Less", x, n.node("ReduceMax", n.node("Neg", x), n.constant([3], "int64"))),
    ):
        net = OnnxNet()
        content = net.content(build(net, net.quantize(net.input(*SHAPE), SCALE, ZERO)))
        codes = np.random.default_rng(3).integers(-128, 128, SHAPE).astype(np.int8)
        real = (codes.astype(np.float32) - ZERO) * np.float32(SCALE)
        wanted = _session(content).run(None, {"x": real})[0]
        found = evaluate(read_onnx(content, "net"), [codes.transpose(0, 2, 3, 1)])[0]
        assert np.array_equal(found.transpose(0, 3, 1, 2), wanted)
