"""Float models calibrated to int8, as .pt2 files are; verified beside ONNX Runtime."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.onnx_models import OnnxNet, _session
from tinygen.builds.onnx_runtime import OnnxRuntime, agreement
from tinygen.errors import TinygenError, TinygenWarning
from tinygen.frontends.layouts import Layout
from tinygen.frontends.load import load_model, load_network
from tinygen.frontends.onnx import load_onnx
from tinygen.frontends.ptq.losses import network_loss
from tinygen.ir.interpreter import evaluate
from tinygen.verbs.quantization import beside_onnx

SHAPE = (3, 16, 12)


def network(*, batch: int | str = 1) -> onnx.ModelProto:
    """Convolutions with batch norm, a GELU that is spelled out, a residual, a squeeze-and-excite gate, a softmax."""
    rng, net = np.random.default_rng(1), OnnxNet()

    def conv(x: str, filters: int, depth: int, size: int, **attributes: object) -> str:
        scale = 1 / np.sqrt(depth * size**2)
        x = net.node("Conv", x, net.constant(rng.normal(0, scale, (filters, depth, size, size))), **attributes)
        norm = rng.uniform(0.5, 1.5, filters), rng.normal(0, 0.3, filters), rng.normal(0, 0.3, filters)
        return net.node("BatchNormalization", x, *(net.constant(v) for v in (*norm, rng.uniform(0.5, 2, filters))))

    x = net.node("Relu", conv(net.input(batch, *SHAPE), 8, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    half = net.node("Mul", x, net.constant(0.5))
    erf = net.node("Erf", net.node("Div", x, net.constant(2**0.5)))
    y = net.node("Mul", half, net.node("Add", erf, net.constant(1.0)))
    x = net.node("Add", x, conv(y, 8, 1, 3, group=8, pads=[1, 1, 1, 1]))
    gate = net.node("HardSigmoid", conv(net.node("GlobalAveragePool", x), 8, 8, 1), alpha=1 / 6)
    x = net.node("Flatten", net.node("ReduceMean", net.node("Mul", x, gate), net.constant([2, 3], "int64")))
    x = net.node("Gemm", x, net.constant(rng.normal(0, 1, (5, 8))), net.constant(rng.normal(0, 1, 5)), transB=1)
    return net.model(net.node("Softmax", x, axis=1), opset=18)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, *SHAPE)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(network(), path)
    np.savez(tmp_path / "x.npz", x=images(32))
    return path


def test_float_model_becomes_int8(model: Path) -> None:
    graph = load_model(model, calibration=model.with_name("x.npz"))
    kinds = [op.KIND for op in graph.ops]
    assert kinds.count("lookup") == 1 and kinds[-1] == "softmax"
    assert {tensor.dtype for tensor in graph.tensors.values() if not tensor.is_constant} == {np.dtype(np.int8)}
    runtime = OnnxRuntime(model)
    samples = [[image[None].transpose(0, 2, 3, 1)] for image in images(16, 1)]
    loss = network_loss(runtime.outputs, graph, samples, None, (), "ONNX Runtime")
    assert loss.same is not None and loss.same >= 15 and loss.signal_to_noise > 25


def test_layouts_of_calibration(model: Path, tmp_path: Path) -> None:
    """NCHW as the model takes them, or NHWC where that is said."""
    np.save(tmp_path / "last.npy", images(32).transpose(0, 2, 3, 1))
    one = load_model(model, calibration=model.with_name("x.npz"))
    other = load_network(model, calibration=tmp_path / "last.npy", layout=Layout.NHWC).first
    assert one.ops == other.ops
    with pytest.raises(TinygenError, match="They fit as NHWC"):
        load_model(model, calibration=tmp_path / "last.npy")


def test_what_is_joined_with_larger_values_keeps_its_precision(tmp_path: Path) -> None:
    """A gate that scales something else besides: it is rescaled where it is joined, not rounded where it is made."""
    net = OnnxNet()
    x = net.input(1, 16)
    gate = net.node("Sigmoid", x)
    large = net.node("Mul", net.node("Reshape", gate, net.constant([1, 16], "int64")), net.constant(300.0))
    path = tmp_path / "net.onnx"
    path.write_bytes(net.content(net.node("Concat", gate, net.node("Exp", net.node("Mul", gate, x)), large, axis=1)))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(0, 1, (64, 16)).astype(np.float32))
    graph = load_model(path, calibration=tmp_path / "x.npz")
    assert [op.KIND for op in graph.ops].count("quantize") == 1
    assert {graph.tensors[op.outputs[0]].scale for op in graph.ops if op.KIND == "logistic"} == {1 / 256}
    samples = [[np.random.default_rng(seed).normal(0, 1, (1, 16)).astype(np.float32)] for seed in range(1, 9)]
    loss = network_loss(OnnxRuntime(path).outputs, graph, samples, None, (), "ONNX Runtime")
    assert loss.signal_to_noise > 40


def test_outputs_of_uint8_are_compared(tmp_path: Path) -> None:
    path, net = tmp_path / "net.onnx", OnnxNet()
    scale, zero = net.constant(0.1), net.constant(100, "uint8")
    x = net.node("DequantizeLinear", net.input(1, 7, dtype=onnx.TensorProto.UINT8), scale, zero)
    net.nodes.append(
        onnx.helper.make_node("QuantizeLinear", [net.node("Tanh", x), net.constant(0.01), zero], ["codes"])
    )
    model = net.model("codes")
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    path.write_bytes(model.SerializeToString())
    samples = [[np.random.default_rng(seed).integers(-128, 128, (1, 7)).astype(np.int8)] for seed in range(9)]
    assert agreement(OnnxRuntime(path), load_onnx(path), samples).differing == 0


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5, 4), (7,), ()])
def test_inputs_without_a_batch(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Calibration inputs have a sample per row, whatever the shape of one."""
    net = OnnxNet()
    x = net.input(*shape)
    path = tmp_path / "net.onnx"
    path.write_bytes(net.content(net.node("Sigmoid", net.node("Add", x, net.constant(0.5)))))
    rows = np.random.default_rng(0).normal(0, 1, (9, *shape)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=rows)
    graph = load_model(path, calibration=tmp_path / "x.npz")
    low, high = graph.tensors["x"].scale * (np.array([-128, 127]) - graph.tensors["x"].zero_point)
    assert low - 0.1 < min(rows.min(), 0) and max(rows.max(), 0) < high + 0.1 and high - low < 9


def test_float32(model: Path) -> None:
    graph = load_onnx(model, float32=True)
    image = images(1, 2)
    wanted = _session(model.read_bytes()).run(None, {"x": image})[0]
    assert np.abs(evaluate(graph, [image.transpose(0, 2, 3, 1)])[0] - wanted).max() < 1e-6


def test_calibration_is_missing_or_too_much(model: Path, tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="calibration inputs are missing") as missing:
        load_model(model)
    assert "net.onnx" in missing.value.where and "--calibration" in missing.value.fix
    net = OnnxNet()
    quantized = tmp_path / "quantized.onnx"
    quantized.write_bytes(net.content(net.node("Relu", net.quantize(net.input(1, 8), 0.1))))
    with pytest.raises(TinygenError, match="it is quantized already"):
        load_model(quantized, calibration=tmp_path / "x.npz")
    np.savez(tmp_path / "other.npz", image=images(2))
    with pytest.raises(TinygenError, match="has no array for input 0"):
        load_model(model, calibration=tmp_path / "other.npz")


def test_free_batch_size_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(network(batch="N"), path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = load_onnx(path, float32=True)
    assert graph.tensors["x"].shape == (1, 16, 12, 3)
    assert [str(one.message) for one in caught if one.category is TinygenWarning] == [
        f"{path}: input 'x' has a free batch size, 'N': 1 is taken"
    ]


def test_agreement_with_onnx_runtime(tmp_path: Path) -> None:
    """Equal codes; a graph that is not the file's disagrees."""
    path, net = tmp_path / "net.onnx", OnnxNet()
    x = net.quantize(net.input(1, 4, 6, 5), 0.05)
    path.write_bytes(net.content(net.quantize(net.node("Sigmoid", net.node("MaxPool", x, kernel_shape=[2, 2])), 0.01)))
    graph = load_onnx(path)
    samples = [[np.random.default_rng(seed).integers(-128, 128, (1, 6, 5, 4)).astype(np.int8)] for seed in range(3)]
    found = agreement(OnnxRuntime(path), graph, samples)
    assert (found.samples, found.codes, found.differing, found.same) == (3, 3 * 80, 0, None)
    assert str(found) == "Beside ONNX Runtime: all 240 outputs are equal"
    path.write_bytes(net.content(net.quantize(net.node("Tanh", net.node("MaxPool", x, kernel_shape=[2, 2])), 0.01)))
    other = agreement(OnnxRuntime(path), graph, samples)
    assert other.differing > 100 and json.dumps(other.as_json())


def test_without_onnx_runtime(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    graph = load_onnx(model, float32=True)
    beside = beside_onnx(model, graph, None)  # type: ignore[arg-type]
    assert beside.agreement is None and "pip install 'tinygen[onnx]'" in beside.notes[0]
