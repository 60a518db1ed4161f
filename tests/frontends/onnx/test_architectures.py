"""Networks of torchvision and timm as PyTorch's ONNX exporter writes them: floats as PyTorch, integers too."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.support.architectures import ALL, architecture
from tests.support.torch_models import need
from tinygen.frontends.onnx import load_onnx
from tinygen.frontends.ptq.samples import Noise
from tinygen.ir.interpreter import evaluate

torch = need("torch")
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize(("source", "name"), ALL, ids=[name for _, name in ALL])
def test_export(source: str, name: str, tmp_path: Path) -> None:
    network, shape = architecture(source, name)
    if importlib.util.find_spec("onnxscript") is None:
        pytest.skip("onnxscript: pip install --no-deps onnxscript onnx-ir")
    x, file = torch.randn(shape, generator=torch.Generator().manual_seed(1)), tmp_path / "net.onnx"
    with torch.no_grad():
        wanted = network(x).numpy()
    torch.onnx.export(network, (x,), file, dynamo=True, opset_version=18, external_data=False, verbose=False)
    real = load_onnx(file, float32=True)
    (y,) = evaluate(real, [x.numpy().transpose(0, 2, 3, 1)])
    np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    assert not load_onnx(file, calibration=Noise()).tensors[real.inputs[0]].is_float
