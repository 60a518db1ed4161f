"""QONNX models: integer networks against floats in double precision, and the C against the integers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.frontends.onnx.qonnx_oracle import evaluate_floats
from tests.support.host_batch import run_on_host
from tests.support.onnx_models import QONNX, OnnxNet, kinds
from tinygen.frontends.onnx import read_onnx
from tinygen.ir.encodings import Affine, Binary, Levels, Ternary
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

Step = Callable[[OnnxNet, str], str]


def images(seed: int, *shape: int, count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, (1, *shape)) for _ in range(count)]


def input_codes(graph: Graph, feed: np.ndarray) -> np.ndarray:
    """Of an 8-bit signed input."""
    tensor = graph.tensors[graph.inputs[0]]
    codes = np.clip(np.rint(feed / tensor.scale), -128, 127)
    return (codes.transpose(0, 2, 3, 1) if codes.ndim == 4 else codes).astype(tensor.dtype)


def compare(content: bytes, feeds: list[np.ndarray], folder: Path | None = None) -> tuple[Graph, list[np.ndarray]]:
    """(graph, distance of the output from the floats per feed, in steps of one code); the C agrees with the graph."""
    graph = read_onnx(content, "net")
    y = graph.tensors[graph.outputs[0]]
    samples = [[input_codes(graph, feed)] for feed in feeds]
    results = [evaluate(graph, sample)[0] for sample in samples]
    gaps = []
    for result, wanted in zip(results, evaluate_floats(content, feeds), strict=True):
        real = wanted.transpose(0, 2, 3, 1) if wanted.ndim == 4 else wanted
        assert real.shape == result.shape
        gaps.append(y.integer.integers(result) - real / y.integer.scale[0])
    if folder is not None:
        program = lower(simplify(graph), isa=("c99",))
        for given, expected in zip(run_on_host([program], [samples], folder)[0], results, strict=True):
            assert (given[0] == expected).all()
    return graph, gaps


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape)


def mixed_net() -> bytes:
    """4-bit, ternary and binary layers; batch norm with gains of both signs and zero; a maximum before a quantizer."""
    rng = np.random.default_rng(9)
    net = OnnxNet()
    x = net.quant(net.input(1, 5, 12, 10), 0.0173, 8)
    weights = net.quant(net.constant(normal(1, 9, 5, 3, 3)), rng.uniform(0.2, 0.4, (9, 1, 1, 1)), 4, narrow=1)
    x = net.node("Conv", x, weights, net.constant(normal(2, 9)), pads=[1, 1, 1, 1])
    x = net.quant(net.node("Relu", net.batch_norm(x, 9, rng)), 0.1371, 4, signed=0)
    ternary = net.quant(net.constant(normal(3, 40, 9, 3, 3)), 0.7, 2, narrow=1)
    x = net.node("MaxPool", net.node("Conv", x, ternary), kernel_shape=[2, 2], strides=[2, 2])
    x = net.bipolar(net.batch_norm(x, 40, rng), 0.5)
    binary = net.bipolar(net.constant(normal(4, 33, 40, 3, 3)), 0.31)
    x = net.node("Conv", x, binary, pads=[1, 1, 1, 1])
    x = net.bipolar(net.batch_norm(x, 33, rng))
    x = net.node("Flatten", net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    x = net.node("Gemm", x, net.bipolar(net.constant(normal(5, 6, 132)), 0.25), net.constant(normal(6, 6)), transB=1)
    return net.content(x)


def test_mixed_network(tmp_path: Path) -> None:
    """Every integer agrees with the floats; the output, which nothing quantizes, to a millionth of its range."""
    feeds = images(2, 5, 12, 10)
    graph, gaps = compare(mixed_net(), feeds, tmp_path)
    assert kinds(graph) == [
        "integer_conv_2d",
        "integer_conv_2d",
        "max_pool_2d",
        "integer_conv_2d",
        "max_pool_2d",
        "integer_conv_2d",
        "reshape",
    ]
    output = graph.tensors[graph.outputs[0]]
    assert output.dtype == np.int32
    assert max(np.abs(gap).max() for gap in gaps) <= 2
    encodings = [graph.tensors[op.inputs[1]].encoding for op in graph.ops if isinstance(op, MacLayer)]
    assert [type(encoding) for encoding in encodings] == [Affine, Ternary, Binary, Binary]
    activations = [type(graph.tensors[op.outputs[0]].encoding) for op in graph.ops]
    assert activations == [Levels, Binary, Binary, Binary, Binary, Affine, Affine]
    signs = graph.ops[2].sign  # type: ignore[attr-defined]
    assert set(signs) == {1, -1}, "a falling batch norm makes the maximum a minimum of codes"


MODES = ("ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("bits", "signed", "narrow"), [(1, 0, 0), (2, 1, 1), (3, 1, 0), (4, 0, 0), (4, 1, 1), (8, 1, 0)]
)
def test_quantizers(mode: str, bits: int, signed: int, narrow: int) -> None:
    """All modes, on scales where half of the accumulators are ties."""
    net = OnnxNet()
    x = net.quant(net.input(1, 6), 0.0625, 8)
    weights = net.quant(net.constant(normal(1, 6, 5)), 0.5, 3)
    x = net.node("MatMul", x, weights)
    step = {1: 0.25, 2: 0.25, 3: 0.125, 4: 0.0625, 8: 0.0625}[bits]
    content = net.content(net.quant(x, step, bits, signed=signed, narrow=narrow, rounding_mode=mode))
    graph, gaps = compare(content, images(3, 6, count=60))
    if bits < 8:
        assert not np.concatenate(gaps).any()
    epilogue = graph.ops[0].epilogue  # type: ignore[attr-defined]
    if bits == 8:
        # Only rounding to even, or by the sign, is beyond a multiplication; such ties are one code off.
        assert isinstance(epilogue, Rescale)
        assert np.abs(np.concatenate(gaps)).max() <= (0 if mode in ("CEIL", "FLOOR") else 1)


LAYERS: dict[str, tuple[tuple[str, ...], Step]] = {
    "zero point": (
        ("integer_conv_2d", "integer_conv_2d"),
        lambda n, x: conv(n, n.quant(conv(n, x, 4, 4), 0.41, 4, zero=5.0, signed=0), 6, 4),
    ),
    "grouped": (("integer_conv_2d",), lambda n, x: n.quant(conv(n, x, 4, 2, group=2, pads=[0, 1, 1, 0]), 0.41, 3)),
    "8 bits": (("integer_conv_2d",), lambda n, x: n.quant(n.node("Relu", conv(n, x, 4, 4)), 0.0371, 8, signed=0)),
    "clamp, 8 bits": (
        ("integer_conv_2d",),
        lambda n, x: n.quant(n.node("Clip", conv(n, x, 4, 4), n.constant(-0.7), n.constant(0.9)), 0.0371, 8),
    ),
    "relu before batch norm": (
        ("integer_conv_2d",),
        lambda n, x: n.quant(n.batch_norm(n.node("Relu", conv(n, x, 7, 4)), 7, np.random.default_rng(3)), 0.31, 4),
    ),
    "sum of one scale": (
        ("integer_conv_2d", "integer_conv_2d", "requantize", "requantize", "add", "requantize"),
        lambda n, x: n.quant(
            n.node(
                "Relu",
                n.node(
                    "Add",
                    n.quant(conv(n, x, 4, 4), 0.41, 5, signed=0),
                    n.quant(conv(n, x, 4, 4, seed=3), 0.41, 5, signed=0),
                ),
            ),
            0.53,
            4,
            signed=0,
        ),
    ),
    "sum of signed codes": (
        ("integer_conv_2d", "integer_conv_2d", "sub", "integer_conv_2d"),
        lambda n, x: conv(
            n, n.node("Sub", n.quant(conv(n, x, 4, 4), 0.41, 5), n.quant(conv(n, x, 4, 4, seed=3), 0.41, 5)), 3, 4
        ),
    ),
    "average": (
        ("integer_conv_2d", "integer_average_pool_2d"),
        lambda n, x: n.quant(
            n.node("AveragePool", n.quant(conv(n, x, 4, 4), 0.41, 4, signed=0), kernel_shape=[2, 2], strides=[2, 2]),
            0.37,
            4,
        ),
    ),
    "global average": (
        ("integer_conv_2d", "integer_average_pool_2d"),
        lambda n, x: n.node("GlobalAveragePool", n.quant(conv(n, x, 4, 4), 0.41, 4, signed=0)),
    ),
    "truncated average": (
        ("integer_conv_2d", "integer_average_pool_2d"),
        lambda n, x: truncated(
            n, n.node("AveragePool", n.quant(conv(n, x, 4, 4), 0.25, 4, signed=0), kernel_shape=[2, 2]), 6, 4
        ),
    ),
    "rounded truncation": (
        ("integer_conv_2d", "integer_average_pool_2d"),
        lambda n, x: truncated(
            n, n.node("AveragePool", n.quant(conv(n, x, 4, 4), 0.25, 4, signed=0), kernel_shape=[2, 2]), 6, 4, "ROUND"
        ),
    ),
    "concatenation": (
        ("requantize", "integer_conv_2d", "concatenation", "integer_conv_2d"),
        lambda n, x: conv(n, n.node("Concat", *[n.quant(v, 0.21, 4) for v in two(n, x)], axis=1), 5, 8),
    ),
    "binary and padding": (
        ("requantize", "integer_conv_2d"),
        lambda n, x: n.quant(
            n.node("Conv", n.bipolar(x), n.bipolar(n.constant(normal(5, 3, 4, 3, 3))), pads=[1, 1, 1, 1]), 1.3, 4
        ),
    ),
    "binary sum": (("integer_conv_2d",), lambda n, x: n.bipolar(n.node("Add", conv(n, x, 4, 4), n.constant(0.1)))),
    "quantized bias": (
        ("integer_conv_2d",),
        lambda n, x: n.node(
            "Conv", x, n.quant(n.constant(normal(1, 3, 4, 1, 1)), 0.3, 4), n.quant(n.constant(normal(2, 3)), 2**-10, 16)
        ),
    ),
    "flattened before the quantizer": (
        ("requantize", "reshape", "transpose", "reshape"),
        lambda n, x: n.quant(n.node("Flatten", n.node("Relu", x)), 0.31, 4, signed=0),
    ),
    "scaled output": (("integer_conv_2d",), lambda n, x: n.node("Mul", conv(n, x, 4, 4), n.constant(0.5))),
    "pad": (
        ("pad", "integer_conv_2d"),
        lambda n, x: n.quant(conv(n, n.node("Pad", x, n.constant([0, 0, 1, 1, 0, 0, 1, 1], "int64")), 4, 4), 0.4, 4),
    ),
}


def conv(net: OnnxNet, x: str, filters: int, depth: int, seed: int = 1, **attributes: object) -> str:
    weights = net.quant(net.constant(normal(seed, filters, depth, 3, 3)), 0.29, 4)
    return net.node("Conv", x, weights, **attributes)


def two(net: OnnxNet, x: str) -> tuple[str, str]:
    return net.quant(x, 0.21, 4), conv(net, x, 4, 4, pads=[1, 1, 1, 1])


def truncated(net: OnnxNet, x: str, bits: int, kept: int, mode: str = "FLOOR") -> str:
    """Trunc, version 1, with the scale of a sum of codes."""
    parts = net.constant(0.25 / 4), net.constant(0.0), net.constant(float(bits)), net.constant(float(kept))
    return net.node("Trunc", x, *parts, domain=QONNX, rounding_mode=mode)


def layer_model(build: Step) -> bytes:
    net = OnnxNet()
    return net.content(build(net, net.quant(net.input(1, 4, 8, 7), 0.0173, 8)))


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    wanted, build = LAYERS[name]
    graph, gaps = compare(layer_model(build), images(5, 4, 8, 7))
    print(kinds(graph))
    output = graph.tensors[graph.outputs[0]]
    limit = 2 if output.dtype == np.int32 else 1e-3
    assert max(np.abs(gap).max() for gap in gaps) <= limit
    assert tuple(kinds(graph)) == wanted


def test_layers_in_c(tmp_path: Path) -> None:
    """All of them in one program, bit for bit."""
    programs, samples, expected = [], [], []
    for index, (_, build) in enumerate(LAYERS.values()):
        graph = read_onnx(layer_model(build), f"layer{index}")
        programs.append(lower(simplify(graph), isa=("c99",)))
        samples.append([[input_codes(graph, feed)] for feed in images(5, 4, 8, 7, count=2)])
        expected.append([evaluate(graph, sample)[0] for sample in samples[-1]])
    for given, codes in zip(run_on_host(programs, samples, tmp_path, flags=["-O0"]), expected, strict=True):
        assert all((a[0] == b).all() for a, b in zip(given, codes, strict=True))


def test_thresholds_only_where_needed() -> None:
    """One bit: thresholds. 4 bits: a multiplication, with clamps per channel where a batch norm follows a ReLU."""
    epilogues = {}
    for name in ("binary sum", "grouped", "relu before batch norm"):
        epilogues[name] = type(read_onnx(layer_model(LAYERS[name][1])).ops[0].epilogue)  # type: ignore[attr-defined]
    assert epilogues == {"binary sum": Threshold, "grouped": Rescale, "relu before batch norm": Rescale}


@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas"])
def test_domains(domain: str) -> None:
    net = OnnxNet()
    x = net.node(
        "Quant",
        net.input(1, 6, dtype=TensorProto.FLOAT),
        net.constant(0.1),
        net.constant(0.0),
        net.constant(3.0),
        domain=domain,
    )
    graph = read_onnx(net.content(net.node("Relu", x)))
    assert kinds(graph) == ["requantize"]
