"""QDQ models: our codes against ONNX Runtime's floats, quantized; the C against our codes, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.frontends.onnx.qdq_layers import LAYERS, WITHIN_ONE, q, weights_of
from tests.support.host_batch import run_on_host
from tests.support.onnx_models import OnnxNet, every_value, kinds, run_onnxruntime
from tinygen.frontends.onnx import read_onnx
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify


def codes_of(tensor: Tensor, real: np.ndarray) -> np.ndarray:
    """Codes of a value of ONNX's: its integers shifted into ours, or its floats quantized; NHWC where ours is."""
    real = real.transpose(0, 2, 3, 1) if real.ndim == 4 else real
    real = real.reshape(tensor.shape)
    if real.dtype == np.uint8:
        return (real.astype(int) - 128).astype(np.int8)
    if real.dtype == np.int8:
        return real
    info = np.iinfo(tensor.dtype)
    codes = np.rint(real.astype(np.float64) / tensor.scale) + tensor.zero_point
    return np.clip(codes, info.min, info.max).astype(tensor.dtype)


def layer_gaps(graph: Graph, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each of our operators on ONNX Runtime's own inputs, against ONNX Runtime's output: differences of codes."""
    gaps = {}
    for node in graph.nodes():
        arguments = [
            np.asarray(t.data) if t.is_constant else codes_of(t, values[t.name]) for t in node.inputs if t is not None
        ]
        result = node.op.evaluate(node, arguments)[0]
        gaps[node.op.name] = result.astype(int) - codes_of(node.output, values[node.output.name])
    return gaps


def distance_from_tie(content: bytes, tensor: Tensor, values: dict[str, np.ndarray]) -> np.ndarray:
    """How far, in codes, ONNX Runtime's float lies from where its code changes."""
    model = onnx.load_from_string(content)
    source = next(node.input[0] for node in model.graph.node if node.output[0] == tensor.name)
    real = values[source]
    real = real.transpose(0, 2, 3, 1) if real.ndim == 4 else real
    return np.abs(real.reshape(tensor.shape) / np.float64(tensor.scale) % 1 - 0.5)


def codes_in(graph: Graph, feed: np.ndarray) -> np.ndarray:
    return codes_of(graph.tensors[graph.inputs[0]], feed)


def check_c(graph: Graph, feeds: list[np.ndarray], folder: Path) -> None:
    """The C's codes are the interpreter's."""
    samples = [[codes_in(graph, feed)] for feed in feeds]
    program = lower(simplify(graph), isa=("c99",))
    for given, sample in zip(run_on_host([program], [samples], folder)[0], samples, strict=True):
        for a, b in zip(given, evaluate(graph, sample), strict=True):
            assert (a == b).all()


def compare(content: bytes, feeds: list[np.ndarray]) -> tuple[Graph, np.ndarray]:
    """(graph, differences of output codes from ONNX Runtime's, all feeds)."""
    graph = read_onnx(content, "net")
    y = graph.tensors[graph.outputs[0]]
    gaps = []
    for feed, wanted in zip(feeds, run_onnxruntime(content, feeds), strict=True):
        result = evaluate(graph, [codes_in(graph, feed)])[0]
        gaps.append((result.astype(int) - codes_of(y, wanted)).reshape(-1))
    return graph, np.concatenate(gaps)


def images(seed: int, *shape: int, count: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, (1, *shape)).astype(np.float32) for _ in range(count)]


def conv_net(dtype: str, zero: int, per_channel: bool) -> bytes:
    """Grouped, depthwise and plain convolutions, pools, a sum, flatten, dense, softmax."""
    rng = np.random.default_rng(3)
    net = OnnxNet()

    def conv(x: str, filters: int, depth: int, kernel: int, relu: bool = True, **attributes: object) -> str:
        codes = rng.integers(-127, 128, (filters, depth, kernel, kernel))
        scale = rng.uniform(0.5, 2, filters if per_channel else None) / (128 * kernel * np.sqrt(depth))
        bias = net.weights(rng.integers(-900, 900, filters), np.float32(0.03 * scale), 0, "int32")
        y = net.node("Conv", x, net.weights(codes, scale), bias, **attributes)
        return net.quantize(net.node("Relu", y) if relu else y, 0.03, zero, dtype)

    x = net.quantize(net.input(1, 6, 11, 10), 0.03, zero, dtype)
    x = conv(x, 8, 6, 3, pads=[1, 1, 1, 1])
    x = conv(x, 8, 1, 3, group=8, strides=[2, 2], pads=[1, 1, 1, 1])
    y = conv(x, 8, 4, 1, group=2, relu=False)
    x = net.quantize(net.node("Add", x, y), 0.0413, zero, dtype)
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.quantize(net.node("Concat", x, x, axis=1), 0.0413, zero, dtype)
    x = net.quantize(net.node("Flatten", x), 0.0413, zero, dtype)
    gemm = net.weights(rng.integers(-127, 128, (10, 96)), np.float32(0.002))
    bias = net.weights(rng.integers(-900, 900, 10), np.float32(0.0413 * 0.002), 0, "int32")
    x = net.quantize(net.node("Gemm", x, gemm, bias, transB=1), 0.05, zero, dtype)
    x = net.quantize(net.node("Softmax", x, axis=1), 1 / 256, -128 if dtype == "int8" else 0, dtype)
    return net.content(x)


@pytest.mark.parametrize(("dtype", "zero"), [("int8", -5), ("uint8", 120)])
@pytest.mark.parametrize("per_channel", [False, True])
def test_network(dtype: str, zero: int, per_channel: bool, tmp_path: Path) -> None:
    content, feeds = conv_net(dtype, zero, per_channel), images(1, 6, 11, 10)
    graph = read_onnx(content, "net")
    assert kinds(graph) == [
        "conv_2d",
        "depthwise_conv_2d",
        "conv_2d",
        "add",
        "max_pool_2d",
        "concatenation",
        "fully_connected",
        "softmax",
    ]
    check_c(graph, feeds, tmp_path)
    total = differ = 0
    for values in every_value(content, feeds):
        for node in graph.nodes():
            gap = layer_gaps(graph, values)[node.op.name]
            total, differ = total + gap.size, differ + np.count_nonzero(gap)
            assert np.abs(gap).max() <= 1, node.op.name
            if gap.any() and node.op.KIND != "softmax":
                # TFLite rounds twice where it multiplies: only what is this close to a tie may come out differently.
                assert distance_from_tie(content, node.output, values)[gap != 0].max() < 0.01
    print(f"{differ} of {total} codes differ")
    assert differ <= 0.005 * total
    top = [np.argmax(evaluate(graph, [codes_in(graph, feed)])[0]) for feed in feeds]
    assert top == [np.argmax(y) for y in run_onnxruntime(content, feeds)]


def single(build: object, *shape: int, scale: float = 0.05, zero: int = 3) -> tuple[bytes, list[np.ndarray]]:
    """A model of one layer behind a quantized input, and inputs for it."""
    net = OnnxNet()
    x = net.quantize(net.input(1, *shape), scale, zero)
    return net.content(build(net, x)), images(7, *shape)  # type: ignore[operator]


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    wanted, shape, build = LAYERS[name]
    graph, gaps = compare(*single(build, *shape))
    assert tuple(kinds(graph)) == wanted
    assert np.abs(gaps).max() <= 1
    if name not in WITHIN_ONE:
        assert np.count_nonzero(gaps) <= 0.01 * gaps.size, f"{np.count_nonzero(gaps)} of {gaps.size} codes differ"


def test_layers_in_c(tmp_path: Path) -> None:
    """Those with an epilogue of their own in one program, bit for bit; TFLite's operators have their own tests."""
    programs, samples, expected = [], [], []
    own = [entry for entry in LAYERS.values() if any(kind.startswith(("integer", "requantize")) for kind in entry[0])]
    assert len(own) >= 8
    for index, (_, shape, build) in enumerate(own):
        content, feeds = single(build, *shape)
        graph = read_onnx(content, f"layer{index}")
        programs.append(lower(simplify(graph), isa=("c99",)))
        samples.append([[codes_in(graph, feed)] for feed in feeds[:2]])
        expected.append([evaluate(graph, sample)[0] for sample in samples[-1]])
    for given, codes in zip(run_on_host(programs, samples, tmp_path, flags=["-O0"]), expected, strict=True):
        assert all((a[0] == b).all() for a, b in zip(given, codes, strict=True))


def test_four_bit_weights(tmp_path: Path) -> None:
    """INT4 per channel, UINT4 with a zero point: int8 codes within -8..7."""
    rng = np.random.default_rng(4)
    net = OnnxNet()
    x = net.quantize(net.input(1, 4, 6, 5), 0.05)
    signed = net.narrow(rng.integers(-8, 8, (6, 4, 3, 3)), TensorProto.INT4)
    scales, zeros = net.constant(rng.uniform(0.03, 0.06, 6)), net.narrow(np.zeros(6, int), TensorProto.INT4)
    x = net.node("Conv", x, net.node("DequantizeLinear", signed, scales, zeros, axis=0))
    x = net.node("Flatten", net.quantize(x, 0.0613))
    unsigned = net.narrow(rng.integers(0, 16, (7, 72)), TensorProto.UINT4)
    zero = net.narrow(np.array(8), TensorProto.UINT4)
    weights = net.node("DequantizeLinear", unsigned, net.constant(0.05), zero)
    content = net.content(net.quantize(net.node("Gemm", x, weights, transB=1), 0.21))
    feeds = images(5, 4, 6, 5)
    graph, gaps = compare(content, feeds)
    assert kinds(graph) == ["conv_2d", "fully_connected"]
    constants = [graph.tensors[op.inputs[1]] for op in graph.ops]
    for tensor in constants:
        assert tensor.dtype == np.int8 and not any(tensor.affine.zero_point)
        assert tensor.data is not None and (tensor.data.min(), tensor.data.max()) == (-8, 7)
    assert len(constants[0].affine.scale) == 6
    assert np.abs(gaps).max() <= 1 and np.count_nonzero(gaps) <= 0.05 * gaps.size
    check_c(graph, feeds, tmp_path)


@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -8, 7), ("uint8", 0, 15)])
def test_codes_clipped_behind_the_quantizer(dtype: str, low: int, high: int, tmp_path: Path) -> None:
    """4 bits as QuantizeLinear, Clip, DequantizeLinear, of activations and weights; exact, but for float ties."""
    net = OnnxNet()
    x = net.quantize(net.input(1, 4, 6, 5), 0.05)
    weights = net.clipped(net.constant(np.random.default_rng(2).normal(0, 1, (5, 4, 3, 3))), 0.3, -8, 7)
    x = net.clipped(net.node("Conv", x, weights), 0.43, low, high, dtype)
    x = net.clipped(net.node("MaxPool", x, kernel_shape=[2, 2]), 0.43, low + 1, high - 1, dtype)
    content, feeds = net.content(x), images(5, 4, 6, 5)
    graph, gaps = compare(content, feeds)
    assert kinds(graph) == ["integer_conv_2d", "max_pool_2d", "requantize"]
    assert not gaps.any()
    check_c(graph, feeds, tmp_path)


def qlinear_net() -> bytes:
    rng = np.random.default_rng(6)
    net = OnnxNet()

    def parameters(scale: object, zero: int, dtype: str = "int8") -> tuple[str, str]:
        return net.constant(scale), net.constant(zero, dtype)

    first, second, third = parameters(0.05, 3), parameters(0.0613, -7), parameters(0.0931, 1)
    x = net.node("QuantizeLinear", net.input(1, 4, 6, 5), *first)
    kernel = net.constant(rng.integers(-127, 128, (6, 4, 3, 3)), "int8")
    scales, zeros = net.constant(rng.uniform(0.002, 0.003, 6)), net.constant(np.zeros(6), "int8")
    bias = net.constant(rng.integers(-900, 900, 6), "int32")
    x = net.node("QLinearConv", x, *first, kernel, scales, zeros, *second, bias, pads=[0, 1, 1, 0])
    x = net.node("Flatten", x)
    columns = net.constant(rng.integers(-127, 128, (120, 7)), "int8")
    x = net.node("QLinearMatMul", x, *second, columns, *parameters(0.002, 0), *third)
    return net.content(net.node("DequantizeLinear", x, *third))


def test_qlinear_operators(tmp_path: Path) -> None:
    content, feeds = qlinear_net(), images(5, 4, 6, 5)
    graph, gaps = compare(content, feeds)
    assert kinds(graph) == ["conv_2d", "fully_connected"]
    assert np.abs(gaps).max() <= 1 and np.count_nonzero(gaps) <= 0.05 * gaps.size
    check_c(graph, feeds, tmp_path)


def test_channels_last_file() -> None:
    """A file that turns the image in front of its layers, and back behind them: no layer turns anything."""
    net = OnnxNet()
    x = net.node("Transpose", net.input(1, 9, 8, 4), perm=[0, 3, 1, 2])
    x = q(net, net.node("Conv", net.quantize(x, 0.05), weights_of(net, 5, 4, 3, 3)))
    content = net.content(net.node("Transpose", x, perm=[0, 2, 3, 1]))
    graph = read_onnx(content)
    assert kinds(graph) == ["conv_2d"]
    assert graph.tensors[graph.inputs[0]].shape == (1, 9, 8, 4)
    feed = images(3, 9, 8, 4)[0]
    codes = np.clip(np.rint(feed / np.float32(0.05)), -128, 127).astype(np.int8)
    result = evaluate(graph, [codes])[0]
    real = run_onnxruntime(content, [feed])[0]
    assert np.abs(result - (np.rint(real / np.float32(0.0617)) - 7)).max() <= 1


@pytest.mark.parametrize(
    ("shape", "permutation", "given"),
    [
        ((1, 8, 4), [0, 2, 1], (1, 4, 8)),
        ((1, 4, 6, 6), [0, 1, 3, 2], (1, 4, 6, 6)),
        ((1, 4, 6, 5), [0, 3, 2, 1], (1, 5, 6, 4)),
        ((1, 4, 6, 5), [0, 2, 3, 1], (1, 6, 5, 4)),
    ],
)
def test_transposed_last(shape: tuple[int, ...], permutation: list[int], given: tuple[int, ...]) -> None:
    """Inputs stay channels last; outputs that a file transposes have the file's order."""
    net = OnnxNet()
    content = net.content(net.node("Transpose", net.quantize(net.input(*shape), 0.05), perm=permutation))
    graph = read_onnx(content)
    feed = np.random.default_rng(4).normal(0, 1, shape).astype(np.float32)
    result = evaluate(graph, [codes_in(graph, feed)])[0]
    assert result.shape == given
    assert np.array_equal(result, np.rint(run_onnxruntime(content, [feed])[0] / np.float32(0.05)))
