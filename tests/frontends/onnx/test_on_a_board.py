"""ONNX models all the way: the integer semantics, the C on the host, and the emulated board, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.frontends.onnx import test_qdq, test_qonnx
from tinygen.frontends.onnx import read_onnx
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import verify

pytestmark = pytest.mark.long


@pytest.mark.parametrize("kind", ["qdq", "qonnx"])
def test_host_and_board(kind: str, tmp_path: Path) -> None:
    if kind == "qdq":
        content = test_qdq.conv_net("uint8", 120, True)
        graph = read_onnx(content)
        samples = [test_qdq.codes_in(graph, feed) for feed in test_qdq.images(1, 6, 11, 10)]
    else:
        content = test_qonnx.mixed_net()
        graph = read_onnx(content)
        samples = [test_qonnx.input_codes(graph, feed) for feed in test_qonnx.images(2, 5, 12, 10)]
    model, inputs = tmp_path / "net.onnx", tmp_path / "x.npz"
    model.write_bytes(content)
    np.savez(inputs, x=np.concatenate(samples))
    report = verify(model, inputs, BuildOptions(board="f746zg"))
    assert report.samples == len(samples)
    assert [c.as_json()["pair"] for c in report.comparisons] == ["semantics/host", "semantics/f746zg-emulated"]
    assert report.identical
