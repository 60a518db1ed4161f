"""Modules that torchao's PT2E flow has quantized: their scales, zero points and codes, unchanged."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frontends.torch.networks import SHAPE, layer_differences, small
from tests.support.host_batch import run_on_host
from tests.support.torch_models import codes_of, kinds, need, real_outputs
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.load import load_model
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

torch = need("torch")
quantize_pt2e = need("torchao.quantization.pt2e.quantize_pt2e")
xnnpack = need("torchao.testing.pt2e._xnnpack_quantizer")

from tinygen.frontends.torch import export  # noqa: E402

GENERATOR = torch.Generator().manual_seed(7)
TEST = torch.randn((24, *SHAPE[1:]), generator=GENERATOR)


def quantized(module: Any, shape: tuple[int, ...] = SHAPE, per_channel: bool = True) -> Any:
    """The module as PT2E makes it, with XNNPACK's quantizer."""
    example = (torch.zeros(shape),)
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=per_channel)
    quantizer = xnnpack.XNNPACKQuantizer().set_global(config)
    prepared = quantize_pt2e.prepare_pt2e(torch.export.export(module, example).module(), quantizer)
    for _ in range(8):
        prepared(torch.randn(shape, generator=GENERATOR))
    return quantize_pt2e.convert_pt2e(prepared)


@cache
def whole() -> Any:
    """The network of most tests: not made where tests are only listed."""
    return quantized(small())


@pytest.fixture(scope="module")
def graph() -> Graph:
    return export(whole(), TEST[:1])


def activation_parameters(module: Any) -> set[tuple[float, int]]:
    """(scale, zero point) of every quantize node."""
    nodes = [node for node in module.graph.nodes if str(node.target).startswith("quantized_decomposed.quantize_per_t")]
    return {(float(np.float32(node.args[1])), int(node.args[2])) for node in nodes}


def test_kept_as_they_are(graph: Graph) -> None:
    """Every scale of the graph is one of the module's, and every one of those is used."""
    ours = {
        (tensor.affine.scale[0], tensor.affine.zero_point[0])
        for tensor in graph.tensors.values()
        if isinstance(tensor.encoding, Affine) and not tensor.is_constant
    }
    assert ours == activation_parameters(whole())
    frozen = {value.numpy().tobytes() for name, value in whole().state_dict().items() if "frozen" in name}
    linear = next(
        op for op in graph.ops if op.KIND == "fully_connected" and len(graph.tensors[op.inputs[1]].shape) == 2
    )
    weights = graph.tensors[linear.inputs[1]]
    assert weights.data is not None
    assert weights.data.tobytes() in frozen


def test_against_torch(graph: Graph) -> None:
    """Codes of each layer, and the whole network, on the same inputs."""
    compared = differing = 0
    for sample in codes_of(graph, TEST.numpy()):
        counts = layer_differences(graph, evaluate_all(graph, [sample]))
        compared, differing = compared + counts[0], differing + counts[1]
    print(f"{differing} of {compared} codes are rounded otherwise than torch does")
    assert compared > 40_000
    assert differing < compared / 200
    with torch.no_grad():
        wanted = np.concatenate([whole()(row[None]).numpy() for row in TEST])
    found = real_outputs(graph, TEST.numpy())
    assert np.abs(found - wanted).max() < 0.02
    assert (found.argmax(1) == wanted.argmax(1)).all()


def test_host_c(graph: Graph, tmp_path: Path) -> None:
    """Integers up to the softmax, which the quantizer has left in float."""
    assert kinds(graph)[-2:] == ["dequantize", "softmax"]
    feeds = [[sample] for sample in codes_of(graph, TEST.numpy()[:8])]
    results = run_on_host([lower(simplify(graph), isa=("c99", "dsp"))], [feeds], tmp_path)[0]
    for sample, row in zip(feeds, results, strict=True):
        np.testing.assert_allclose(row[0], evaluate_all(graph, sample)[graph.outputs[0]], atol=1e-6)


def test_file(graph: Graph, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(whole(), (TEST[:1],)), tmp_path / "net.pt2")
    again = load_model(tmp_path / "net.pt2")
    assert again.ops == graph.ops
    np.save(tmp_path / "x.npy", TEST.numpy())
    with pytest.raises(TinygenError, match="quantized already"):
        load_model(tmp_path / "net.pt2", None, tmp_path / "x.npy")
    with pytest.raises(TinygenError, match="quantized already"):
        export(whole(), TEST[:1], TEST)


def test_per_tensor_weights_and_integer_outputs() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(12, 9), torch.nn.ReLU(), torch.nn.Linear(9, 4)).eval()
    converted = quantized(module, (1, 12), per_channel=False)
    graph = export(converted, torch.zeros(1, 12))
    assert kinds(graph) == ["fully_connected", "fully_connected"]
    assert graph.tensors[graph.outputs[0]].dtype == np.int8
    x = torch.randn((50, 12), generator=GENERATOR)
    wanted, found = converted_rows(converted, x), real_outputs(graph, x.numpy())
    step = graph.tensors[graph.outputs[0]].scale
    assert np.abs(found - wanted).max() < 1.01 * step
    assert (np.abs(found - wanted) > 0.01 * step).mean() < 0.05


def converted_rows(module: Any, x: Any) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([module(row[None]).numpy() for row in x])


class Nodes(torch.nn.Module):
    """Quantize and dequantize nodes as other quantizers write them."""

    def __init__(self, dtype: Any, low: int, high: int, zero: int, requantize: bool = False) -> None:
        super().__init__()
        self.parameters_ = (0.05, zero, low, high, dtype)
        self.requantize = requantize

    def forward(self, x: Any) -> Any:
        ops = torch.ops.quantized_decomposed
        y = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *self.parameters_), *self.parameters_)
        if self.requantize:
            other = (0.08, *self.parameters_[1:])
            y = ops.dequantize_per_tensor(ops.quantize_per_tensor(y, *other), *other)
        return y.flatten(1).mean(1) if not self.requantize else y * 1


def test_unsigned_activations() -> None:
    """uint8 becomes int8 with the zero point 128 lower."""
    graph = export(Nodes(torch.uint8, 0, 255, 131), torch.zeros(1, 3, 4))
    assert graph.tensors[graph.inputs[0]].affine == Affine("int8", (float(np.float32(0.05)),), (3,))


def test_quantized_twice() -> None:
    """A second scale on the same tensor is a step of its own."""
    graph = export(Nodes(torch.int8, -128, 127, 3, requantize=True), torch.zeros(1, 3))
    assert kinds(graph)[0] == "quantize"


@pytest.mark.parametrize(("padding", "wanted"), [(0, ["depthwise_conv_2d"]), (1, ["average_pool_2d", "quantize"])])
def test_mean_with_another_scale(padding: int, wanted: list[str]) -> None:
    """An average pool between two scales: rounded once, but where windows differ in size."""

    class Module(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            ops = torch.ops.quantized_decomposed
            first, second = (0.05, 3, -128, 127, torch.int8), (0.021, -7, -128, 127, torch.int8)
            x = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *first), *first)
            x = torch.nn.functional.avg_pool2d(x, 2, 2, padding, count_include_pad=False)
            return ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *second), *second)

    graph = export(Module(), TEST[:1])
    assert kinds(graph) == wanted
    steps = (real_outputs(graph, TEST.numpy()) - converted_rows(Module(), TEST)) / 0.021
    # Ties are rounded away from zero here, to even there. The first of two roundings is of steps 0.05 / 0.021 as large.
    assert np.abs(steps).max() < (2.01 if padding else 1.01)
    assert padding or (np.abs(steps) > 0.01).mean() < 0.01


@pytest.mark.parametrize("arguments", [(torch.int8, -8, 7, 0), (torch.int16, -32768, 32767, 0)])
def test_other_widths_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(UnsupportedError, match="are not supported"):
        export(Nodes(*arguments), torch.zeros(1, 3))
