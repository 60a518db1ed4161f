"""Networks with branches as exporters write them: read, built, and equal to what their own runtimes give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.onnx_models import every_value
from tinygen.frontends.load import load_network
from tinygen.frontends.onnx import load_onnx
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.paths import path_of
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import verify

HERE = Path(__file__).parent
BOARDS = [
    "host",
    *(pytest.param(board, marks=pytest.mark.long) for board in ("f746zg", "esp32c3")),
]


def images(graph: Graph, count: int = 60) -> np.ndarray:
    """In the encoding of the input; dark and bright ones, which take both branches."""
    x = graph.tensors[graph.inputs[0]]
    rng = np.random.default_rng(5)
    real = rng.normal(np.linspace(-1, 1, count).reshape(-1, 1, 1, 1), 0.5, (count, *x.shape[1:])).astype(np.float32)
    codes = real if x.is_float else np.clip(np.rint(real / x.scale) + x.zero_point, -128, 127).astype(np.int8)
    assert {path_of(graph, [row[None]])[0][1] for row in codes} == {0, 1}
    return codes


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_tensorflow(kind: str, board: str, tmp_path: Path) -> None:
    """LiteRT's reference kernels are one of the runtimes that are compared."""
    model = HERE / f"{kind}.tflite"
    np.savez(tmp_path / "x.npz", x=images(load_network(model).first))
    report = verify(model, tmp_path / "x.npz", BuildOptions(board=board))
    assert report.identical and report.comparisons[0].first == "litert-ref"


@pytest.mark.parametrize("board", BOARDS)
def test_torch(board: str, tmp_path: Path) -> None:
    model = HERE / "cond.onnx"
    graph = load_onnx(model)
    codes = images(graph)
    x = graph.tensors[graph.inputs[0]]
    real = ((codes.astype(np.float32) - x.zero_point) * np.float32(x.scale)).transpose(0, 3, 1, 2)
    y = graph.tensors[graph.outputs[0]]
    apart = []
    for row, wanted in zip(codes, every_value(model.read_bytes(), [one[None] for one in real]), strict=True):
        assert dict(path_of(graph, [row[None]])) == {"branch_5": int(wanted["gt"])}
        (found,) = evaluate(graph, [row[None]])
        apart.append(np.abs(found.reshape(-1) - np.rint(wanted["getitem"].reshape(-1) / y.scale) - y.zero_point))
    # Both roundings of an int8 layer are TFLite's, not those of ONNX's floats.
    assert np.max(apart) <= 1 and np.mean(apart) < 0.06
    np.savez(tmp_path / "x.npz", x=codes)
    assert verify(model, tmp_path / "x.npz", BuildOptions(board=board)).identical
