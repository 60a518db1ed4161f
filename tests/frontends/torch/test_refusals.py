"""Modules that cannot be taken: the error names the operator and the module."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.torch_models import need
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.layouts import Layout
from tinygen.frontends.load import load_model, load_network
from tinygen.frontends.tg import write_tg

torch = need("torch")
nn, F = torch.nn, torch.nn.functional

from tinygen.frontends.torch import export  # noqa: E402


class Block(nn.Module):
    """A function inside a module with a name."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def refused(function: Callable[[Any], Any], match: str, shape: tuple[int, ...] = (1, 3, 8, 8)) -> UnsupportedError:
    module = nn.Sequential(nn.ReLU(), Block(function))
    with pytest.raises(UnsupportedError, match=match) as caught:
        export(module, torch.zeros(shape), float32=True)
    return caught.value


def test_unknown_operator() -> None:
    error = refused(torch.erfinv, r"aten\.erfinv\.default is not supported")
    assert error.where == "1 (aten.erfinv.default)"
    assert "conv2d" in error.fix


CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "dilated pool": (lambda x: F.max_pool2d(x, 2, dilation=2), r"dilation \[2, 2\]"),
    "conversion": (lambda x: x.double().float(), "conversion to torch.float64"),
    "identity": (lambda x: torch.zeros(3), "does not depend on the input"),
    "dynamic weights": (lambda x: F.conv2d(x, x), "must be a constant"),
    "factor": (lambda x: F.interpolate(x, scale_factor=1.3), "times 1.3 are not 10"),
    "statistics": (lambda x: F.instance_norm(x, torch.zeros(3), torch.ones(3), use_input_stats=False), "running stat"),
    "power": (lambda x: (-2.0) ** x, "powers of -2.0"),
    "powers": (lambda x: x**x, "exponent must be a number"),
    "floored": (lambda x: torch.div(x, 2, rounding_mode="floor"), "integer division"),
    "norm": (lambda x: x.norm(3), "order 3"),
    "bits": (lambda x: (x > 0) & x.int(), "conversion to torch.int32"),
    "einsum": (lambda x: torch.einsum("nchw,cd->nd", x, torch.ones(3, 2)), "'nchw,cd->nd'"),
    "diagonal": (lambda x: torch.einsum("ncii->nci", x), "not supported"),
    "position of all": (lambda x: x.argmax() + 0, "of all elements"),
    "smallest": (lambda x: x.topk(2, largest=False).values, "smallest elements"),
    "positions": (lambda x: x[:, torch.tensor([0, 1]), torch.tensor([1, 2])], "several dimensions"),
    "positions of two dimensions": (lambda x: x[:, torch.tensor([[0, 1], [1, 2]])], "of 2 dimensions"),
    "repeats": (lambda x: x.repeat_interleave(torch.tensor([1, 2, 1]), 1), "shape depends on"),
    "softplus": (lambda x: F.softplus(x, threshold=2), "threshold of 2"),
    "variance of one": (lambda x: x.var((2, 3))[:, :, None].var(2), "variance of 1 elements"),
    "divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "divisor_override"),
}


@pytest.mark.parametrize("case", CASES)
def test_unsupported_use(case: str) -> None:
    error = refused(*CASES[case])
    assert "aten" in error.where or case == "identity"


def test_ranks() -> None:
    """Volumes, and batches of images without the batch."""
    refused(lambda x: F.avg_pool3d(x, 2), "not supported", (1, 3, 8, 8, 8))
    refused(lambda x: F.conv3d(x, torch.ones(2, 3, 2, 2, 2)), "not supported", (1, 3, 8, 8, 8))
    refused(lambda x: F.conv2d(x, torch.ones(2, 1, 2, 2)), "only", (1, 8, 8))
    refused(lambda x: F.conv_transpose2d(x, torch.ones(1, 2, 2, 2)), "only", (1, 8, 8))


def test_control_flow() -> None:
    with pytest.raises(UnsupportedError, match=r"torch\.export cannot trace it"):
        export(Block(lambda x: x if x.sum() > 0 else -x), torch.zeros(1, 3), float32=True)


def test_modes() -> None:
    """A program that was exported while training has batch norms that learn."""
    program = torch.export.export(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), (torch.zeros(1, 3, 4, 4),))
    with pytest.raises(UnsupportedError):
        export(program, float32=True)


def test_inputs() -> None:
    program = torch.export.export(nn.ReLU(), (torch.zeros(2, 3),))
    with pytest.raises(UnsupportedError, match="has shape") as caught:
        export(program, float32=True)
    assert "batch of 1" in caught.value.fix
    with pytest.raises(UnsupportedError, match=r"inputs of type torch\.complex64"):
        export(Block(torch.view_as_real), torch.zeros(1, 3, dtype=torch.complex64), float32=True)
    with pytest.raises(TinygenError, match="an example"):
        export(nn.ReLU(), float32=True)
    with pytest.raises(TinygenError, match="cannot name"):
        export(nn.ReLU(), torch.zeros(1, 3), name="int", float32=True)
    with pytest.raises(TinygenError, match="without calibration"):
        export(nn.ReLU(), torch.zeros(1, 3), torch.zeros(1, 3), float32=True)


def test_low_bit_layers_keep_their_encodings() -> None:
    """tinygen.nn's layers go their own way: nothing is calibrated or left in float."""
    from tinygen.frontends.torch_nn import read_quantized
    from tinygen.nn import InputQuant, QuantLinear, TanhQuant

    torch.manual_seed(0)
    x = torch.randn(16, 6)
    module = nn.Sequential(InputQuant(), QuantLinear(6, 3, weight_quantizer=TanhQuant(4)))
    module(x)
    module.eval()
    graph = export(module, x, name="low")
    assert graph.ops == read_quantized(module, x, "low").ops
    assert [op.KIND for op in graph.ops] == ["fully_connected"]
    with pytest.raises(TinygenError, match="quantized already"):
        export(module, x, x)
    with pytest.raises(UnsupportedError, match="2 inputs"):
        export(module, (x, x))


def test_torch_is_not_needed_elsewhere() -> None:
    """tinygen, its models and its files do without torch; what needs it says how to get it."""
    program = """
import sys
sys.modules["torch"] = None
import tinygen
from pathlib import Path
from tinygen.errors import TinygenError
from tinygen.frontends.layouts import Layout
from tinygen.frontends.load import load_model, load_network
from tinygen.frontends.tg import write_tg
tinygen.save, tinygen.QuantizeOptions
for what in (lambda: tinygen.export, lambda: load_model(Path(sys.argv[1]))):
    try:
        what()
    except TinygenError as error:
        print(error.fix)
"""
    done = subprocess.run([sys.executable, "-c", program, __file__], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "pip install 'tinygen[torch]'"


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(b"PK\3\4 no such thing")
    with pytest.raises(ModelError, match="torch cannot read it"):
        load_model(path)
    torch.export.save(torch.export.export(nn.Linear(4, 2), (torch.zeros(1, 4),)), path)
    with pytest.raises(TinygenError, match="calibration inputs are missing") as caught:
        load_model(path)
    assert "net.pt2" in caught.value.where
    assert "--calibration" in caught.value.fix
    np.savez(tmp_path / "a.npz", other=np.zeros((3, 4)))
    with pytest.raises(TinygenError, match="has no array for input 0"):
        load_model(path, None, tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.zeros((3, 5)))
    with pytest.raises(TinygenError, match=r"rows of shape \[5\] do not fit"):
        load_model(path, None, tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.random.default_rng(0).normal(size=(9, 4)))
    assert load_model(path, None, tmp_path / "c.npy").name == "net"
    assert load_model(path, "mine", tmp_path / "c.npy").name == "mine"


def test_torch_logs_no_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a damaged file, whose error says all that is of use."""
    (tmp_path / "x.pt2").write_bytes(b"PK")
    logger = logging.getLogger("torch.export")
    before = logger.level
    logger.addHandler(caplog.handler)
    try:
        with pytest.raises(ModelError, match="torch cannot read it"):
            load_model(tmp_path / "x.pt2")
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.records == [] and logger.level == before


def test_layout_of_calibration_inputs(tmp_path: Path) -> None:
    """Channels first unless it is said otherwise; never as they happen to lie."""
    path, images = tmp_path / "net.pt2", np.random.default_rng(0).normal(size=(9, 3, 4, 5))
    torch.export.save(torch.export.export(nn.Conv2d(3, 2, 1), (torch.zeros(1, 3, 4, 5),)), path)
    np.save(tmp_path / "first.npy", images)
    np.save(tmp_path / "last.npy", images.transpose(0, 2, 3, 1))
    first = load_network(path, None, tmp_path / "first.npy")
    with pytest.raises(TinygenError, match="layout nhwc"):
        load_network(path, None, tmp_path / "last.npy")
    last = load_network(path, None, tmp_path / "last.npy", Layout.NHWC)
    assert write_tg(last.first) == write_tg(first.first)
