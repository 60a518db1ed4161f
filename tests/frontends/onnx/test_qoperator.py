"""ONNX Runtime's quantizer on one network: QOperator and QDQ format, int8 and uint8."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from tests.frontends.onnx.test_qdq import check_c
from tests.frontends.onnx.test_static_quantization import Calibration
from tests.support.onnx_models import OnnxNet, _session
from tinygen.errors import UnsupportedError
from tinygen.frontends.onnx.file import load_model_file, read_onnx
from tinygen.ir.interpreter import evaluate
from tinygen.ir.tensor import Tensor

SHAPE = (4, 12, 10)
WANTED = {
    "conv_2d": 2,
    "depthwise_conv_2d": 1,
    "lookup": 3,
    "mul": 1,
    "add": 1,
    "concatenation": 1,
    "fully_connected": 1,
    "mean": 1,
}


def network() -> onnx.ModelProto:
    """An operator of each kind that has a form on codes."""
    rng, net = np.random.default_rng(2), OnnxNet()

    def conv(x: str, filters: int, depth: int, size: int, **attributes: object) -> str:
        scale = 1 / np.sqrt(depth * size**2)
        return net.node("Conv", x, net.constant(rng.normal(0, scale, (filters, depth, size, size))), **attributes)

    x = net.node("Relu", conv(net.input(1, *SHAPE), 8, 4, 3, pads=[1, 1, 1, 1]))
    y = net.node("LeakyRelu", conv(x, 8, 1, 3, group=8, pads=[1, 1, 1, 1]), alpha=0.1)
    x = net.node("Add", x, y)
    x = net.node("Mul", x, net.node("Sigmoid", x))
    x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Concat", x, net.node("LeakyRelu", conv(x, 6, 8, 1), alpha=0.05), axis=1)
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    x = net.node("Gemm", x, net.constant(rng.normal(0, 0.3, (7, 14))), net.constant(rng.normal(0, 1, 7)), transB=1)
    return onnx.shape_inference.infer_shapes(net.model(x, opset=17))


def quantized(folder: Path, form: QuantFormat, kind: QuantType) -> Path:
    source, target = folder / "float.onnx", folder / "net.onnx"
    onnx.save(network(), source)
    samples = np.random.default_rng(5).normal(0, 1, (16, *SHAPE)).astype(np.float32)
    quantize_static(
        source,
        target,
        Calibration(samples),
        quant_format=form,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    return target


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("form", [QuantFormat.QOperator, QuantFormat.QDQ])
def test_network(form: QuantFormat, kind: QuantType, tmp_path: Path) -> None:
    path = quantized(tmp_path, form, kind)
    kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert (kinds["QLinearConv"] > 0) == (form is QuantFormat.QOperator)
    model = load_model_file(path)
    graph, session = model.graph, _session(path.read_bytes())
    assert {op.KIND for op in graph.ops} >= WANTED.keys() - {"mean"} and not model.notes
    feeds = np.random.default_rng(6).normal(0, 1, (8, 1, *SHAPE)).astype(np.float32)
    codes = [_codes(graph.tensors[graph.inputs[0]], feed.transpose(0, 2, 3, 1)) for feed in feeds]
    output = graph.tensors[graph.outputs[0]]
    gaps = [
        evaluate(graph, [given])[0].astype(int) - _codes(output, session.run(None, {"x": feed})[0])
        for given, feed in zip(codes, feeds, strict=True)
    ]
    assert np.abs(gaps).max() <= 2
    assert np.abs(gaps).mean() < 0.5
    check_c(graph, list(feeds), tmp_path)


def _codes(tensor: Tensor, real: np.ndarray) -> np.ndarray:
    steps = np.rint(real / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(steps, -128, 127).astype(np.int8)


def test_codes_of_unlike_encodings_are_refused() -> None:
    net = OnnxNet()
    one, other, third = ((net.constant(s), net.constant(0, "int8")) for s in (0.1, 0.2, 0.3))
    x = net.node("QuantizeLinear", net.input(1, 8), *one)
    y = net.node("QLinearAdd", x, *one, x, *other, *third, domain="com.microsoft")
    with pytest.raises(UnsupportedError, match="dequantized with another scale"):
        read_onnx(net.content(net.node("DequantizeLinear", y, *third)))


def test_softmax_and_means_on_codes() -> None:
    """QLinearSoftmax, QLinearReduceMean, QGemm: as the operators between quantizers."""
    rng, net = np.random.default_rng(3), OnnxNet()
    one, other, shares = (
        (net.constant(s), net.constant(z, "int8")) for s, z in ((0.05, 3), (0.04, -2), (1 / 256, -128))
    )
    weights = net.constant(rng.integers(-127, 128, (6, 4)), "int8")
    scales, zeros = net.constant(rng.uniform(0.002, 0.004, 6)), net.constant(np.zeros(6), "int8")
    bias = net.constant(rng.integers(-400, 400, 6), "int32")
    x = net.node("QuantizeLinear", net.input(1, *SHAPE), *one)
    x = net.node("QLinearReduceMean", x, *one, *other, axes=[2, 3], keepdims=0, domain="com.microsoft")
    x = net.node("QGemm", x, *other, weights, scales, zeros, bias, *one, transB=1, domain="com.microsoft")
    x = net.node("QLinearSoftmax", x, *one, *shares, axis=1, opset=17, domain="com.microsoft")
    graph = read_onnx(net.content(net.node("DequantizeLinear", x, *shares)))
    assert [op.KIND for op in graph.ops] == ["mean", "fully_connected", "softmax"]
