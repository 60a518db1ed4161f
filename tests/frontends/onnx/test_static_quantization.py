"""A small CNN trained here on scikit-learn's digits, quantized by ONNX Runtime, and built for a board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.support.host_batch import run_on_host
from tests.support.onnx_models import OnnxNet, run_onnxruntime
from tinygen.frontends.load import load_model
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build

pytest.importorskip("sklearn", reason="scikit-learn has the digits")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(images [N, 1, 8, 8] in 0..1, labels)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return (data.images[order, None] / 16).astype(np.float32), data.target[order]


def features(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A 3x3 convolution without padding, ReLU, 2x2 maxima: [N, filters * 9]."""
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], (3, 3), axis=(1, 2))
    y = np.maximum(np.einsum("nhwij,oij->nohw", windows, kernel[:, 0]) + bias[:, None, None], 0)
    return y.reshape(len(x), len(kernel), 3, 2, 3, 2).max(axis=(3, 5)).reshape(len(x), -1)


def trained() -> dict[str, np.ndarray]:
    """Random filters, and a dense layer on them by ridge regression."""
    rng = np.random.default_rng(1)
    kernel = rng.normal(0, 0.5, (16, 1, 3, 3)).astype(np.float32)
    bias = rng.normal(0, 0.1, 16).astype(np.float32)
    x, labels = digits()
    inputs = np.hstack([features(x[:1200], kernel, bias), np.ones((1200, 1))])
    wanted = np.eye(10)[labels[:1200]]
    solution = np.linalg.solve(inputs.T @ inputs + 0.3 * np.eye(inputs.shape[1]), inputs.T @ wanted)
    return {"kernel": kernel, "bias": bias, "dense": solution[:-1].T * 8, "last": solution[-1] * 8}


class Calibration(CalibrationDataReader):
    def __init__(self, samples: np.ndarray) -> None:
        self.rest: Iterator[np.ndarray] = iter(samples)

    def get_next(self) -> Any:
        sample = next(self.rest, None)
        return None if sample is None else {"x": sample[None]}


def float_model(path: Path, softmax: bool) -> None:
    weights, net = trained(), OnnxNet()
    x = net.node("Conv", net.input(1, 1, 8, 8), net.constant(weights["kernel"]), net.constant(weights["bias"]))
    x = net.node("MaxPool", net.node("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Flatten", x)
    x = net.node("Gemm", x, net.constant(weights["dense"]), net.constant(weights["last"]), transB=1)
    model = net.model(net.node("Softmax", x, axis=1) if softmax else x, opset=17)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


CASES = [
    (QuantType.QInt8, True, False),
    (QuantType.QInt8, False, False),
    (QuantType.QUInt8, True, False),
    (QuantType.QUInt8, True, True),
]


@pytest.mark.parametrize(("activations", "per_channel", "softmax"), CASES)
def test_digits(activations: Any, per_channel: bool, softmax: bool, tmp_path: Path) -> None:
    """Top-1 is ONNX Runtime's on 597 test images; codes of the scores, before softmax, are at most one apart."""
    source, target = tmp_path / "float.onnx", tmp_path / "digits.onnx"
    float_model(source, softmax)
    x, labels = digits()
    quantize_static(
        source,
        target,
        Calibration(x[:200]),
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    graph, test = load_model(target), x[1200:]
    last = ["softmax", "quantize"] if softmax else []
    assert [op.KIND for op in graph.ops] == ["conv_2d", "max_pool_2d", "fully_connected", *last]
    tensor, output = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    wanted = np.concatenate(run_onnxruntime(target.read_bytes(), list(test[:, None])))
    codes = np.clip(np.rint(test / np.float32(tensor.scale)) + tensor.zero_point, -128, 127).astype(np.int8)
    samples = [[c.transpose(1, 2, 0)[None]] for c in codes]
    results = [evaluate(graph, sample)[0] for sample in samples]
    given = np.concatenate(results).astype(int)
    gaps = np.abs(given - np.rint(wanted / output.scale + output.zero_point).astype(int))
    top = given.argmax(axis=1)
    accuracy = (top == labels[1200:]).mean()
    print(f"accuracy {accuracy:.4f}, {np.count_nonzero(gaps)} of {gaps.size} codes differ, by at most {gaps.max()}")
    assert (top == wanted.argmax(axis=1)).all()
    assert softmax or (gaps.max() <= 1 and np.count_nonzero(gaps) <= 0.05 * gaps.size)
    assert accuracy > 0.95
    program = lower(simplify(graph), isa=("c99",))
    for c, expected in zip(run_on_host([program], [samples[:30]], tmp_path / "c")[0], results, strict=False):
        assert (c[0] == expected).all()


@pytest.mark.long
def test_build_for_a_board(tmp_path: Path) -> None:
    source, target = tmp_path / "float.onnx", tmp_path / "digits.onnx"
    float_model(source, True)
    quantize_static(source, target, Calibration(digits()[0][:50]), quant_format=QuantFormat.QDQ)
    build(target, tmp_path / "out", BuildOptions(board="f746zg"))
    assert (tmp_path / "out").is_dir()
