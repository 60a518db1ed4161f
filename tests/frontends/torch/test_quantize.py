"""Post-training quantization: TFLite's rules hold, torch's fake quantization agrees, and the C does what it should."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frontends.torch.networks import SHAPE, Mirror, layer_differences, small
from tests.support.host_batch import run_on_host
from tests.support.torch_models import codes_of, kinds, need, randomize, real_outputs
from tinygen.errors import TinygenError
from tinygen.frontends.ptq.correction import mean_output, mean_taps
from tinygen.frontends.ptq.encodings import affine
from tinygen.frontends.ptq.options import QuantizeOptions
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

torch = need("torch")

from tinygen.frontends.torch import export  # noqa: E402


def data(count: int, seed: int) -> Any:
    return torch.randn((count, *SHAPE[1:]), generator=torch.Generator().manual_seed(seed))


MODULE, CALIBRATION, TEST = small(), data(48, 1), data(24, 2)


def exported(module: Any = MODULE, **options: Any) -> Graph:
    return export(module, CALIBRATION, CALIBRATION, options=QuantizeOptions(**options))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return exported()


def test_rules(graph: Graph) -> None:
    """Nothing is float; weights are symmetric per channel, biases at the accumulator's scale, zero is exact."""
    for tensor in graph.tensors.values():
        encoding = tensor.affine
        assert encoding.storage in ("int8", "int32")
        if encoding.storage == "int8" and not tensor.is_constant:
            assert -128 <= encoding.zero_point[0] <= 127
            assert not encoding.per_channel
    layers = [op for op in graph.ops if isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected)]
    assert len(layers) == 6
    for op in layers:
        x, weights, bias = (graph.tensors[name] for name in op.inputs)
        axis = 3 if isinstance(op, DepthwiseConv2D) else 0
        assert weights.affine.axis == axis
        assert len(weights.affine.scale) == weights.shape[axis]
        assert weights.data is not None
        assert (
            np.abs(weights.data.astype(int)).max(tuple(i for i in range(weights.data.ndim) if i != axis)).min() == 127
        )
        np.testing.assert_allclose(bias.affine.scale, np.array(weights.affine.scale) * x.scale, rtol=1e-12)
    output = graph.tensors[graph.outputs[0]].affine
    assert (output.scale, output.zero_point) == ((1 / 256,), (-128,))
    pools = {op.KIND: op for op in graph.ops}
    for kind in ("max_pool_2d", "concatenation", "reshape"):
        op = pools[kind]
        assert len({graph.tensors[name].encoding for name in (*op.inputs, *op.outputs)}) == 1
    assert "clamp" not in kinds(graph)


def test_against_torch(graph: Graph) -> None:
    """Layer by layer on the same codes, and as a whole."""
    compared = differing = 0
    for sample in codes_of(graph, TEST.numpy()):
        counts = layer_differences(graph, evaluate_all(graph, [sample]))
        compared, differing = compared + counts[0], differing + counts[1]
    print(f"{differing} of {compared} codes are rounded otherwise than torch does")
    assert compared > 40_000
    assert differing < compared / 200
    with torch.no_grad():
        wanted = MODULE(TEST).numpy()
    found = real_outputs(graph, TEST.numpy())
    assert np.abs(found - wanted).max() < 0.05
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.9


def test_larger_images() -> None:
    """Transposed convolutions have weights per channel and corrected biases, larger images keep their encoding."""
    torch.manual_seed(5)
    module = randomize(Mirror(), 5)
    graph = exported(module)
    assert all(tensor.affine.storage in ("int8", "int32") for tensor in graph.tensors.values())
    layers = [op for op in graph.ops if isinstance(op, TransposeConv)]
    assert [graph.tensors[op.inputs[1]].affine.axis for op in layers] == [0, 0]
    assert [len(graph.tensors[op.inputs[1]].affine.scale) for op in layers] == [6, 6]
    compared = 0
    for sample in codes_of(graph, TEST[:4].numpy()):
        compared += layer_differences(graph, evaluate_all(graph, [sample]))[0]
    assert compared > 4 * 2 * 16 * 16 * 6
    with torch.no_grad():
        wanted = module(TEST).numpy()
    found = real_outputs(graph, TEST.numpy())
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_means_of_transposed_convolutions() -> None:
    """The mean of each channel follows from that of each weight's inputs, also where `output_padding` adds pixels."""
    torch.manual_seed(3)
    for options in ({"padding": 1}, {"output_padding": (1, 0)}, {"padding": (0, 2), "output_padding": 1}):
        module = torch.nn.ConvTranspose2d(3, 4, 3, 2, bias=False, **options)
        graph = export(module, CALIBRATION[:1], float32=True)
        node = next(node for node in graph.nodes() if isinstance(node.op, TransposeConv))
        x = TEST[:3].permute(0, 2, 3, 1).numpy()
        with torch.no_grad():
            wanted = module(TEST[:3]).mean((0, 2, 3)).numpy()
        found = mean_output(node, mean_taps(node, x), node.constant(1))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_bias_correction() -> None:
    """Channel means come closer to the float network's, on data that was not calibrated on."""
    torch.manual_seed(3)
    conv = torch.nn.Conv2d(3, 32, 3)
    # One large weight per filter makes the steps of all others coarse.
    conv.weight.data[:, 0, 0, 0] = 4.0
    module = torch.nn.Sequential(torch.nn.ReLU(), conv, torch.nn.ReLU(), torch.nn.Conv2d(32, 16, 1)).eval()
    with torch.no_grad():
        wanted = module(TEST).numpy()
    errors = []
    for correct in (False, True):
        found = real_outputs(exported(module, bias_correction=correct), TEST.numpy())
        errors.append(float(np.abs((found - wanted).mean((0, 2, 3))).mean()))
    print(f"mean error of a channel: {errors[0]:.5f}, corrected {errors[1]:.5f}")
    assert errors[1] < 0.5 * errors[0]


def test_methods() -> None:
    """An outlier widens the range of "minmax" only."""
    calibration = CALIBRATION.clone()
    calibration[7, 0, 0, 0] = 100.0
    scales = {}
    for method in ("minmax", "percentile", "moving_average"):
        graph = export(MODULE, calibration, calibration, options=QuantizeOptions(method=method, percentile=99.9))
        scales[method] = graph.tensors[graph.inputs[0]].scale
    assert scales["minmax"] == pytest.approx((100 - float(calibration.min())) / 255)
    assert scales["percentile"] < 0.1 * scales["minmax"]
    assert 0.02 < scales["moving_average"] < 0.1


def test_ways_to_calibrate(graph: Graph) -> None:
    """An array, NumPy's too, and batches with labels give the same graph; other shapes are refused."""
    batches = [(CALIBRATION[start : start + 20], torch.zeros(20)) for start in (0, 20, 40)]
    for calibration in (CALIBRATION.numpy(), batches):
        again = export(MODULE, CALIBRATION[:1], calibration)
        assert again.ops == graph.ops
        assert all(again.tensors[name].encoding == tensor.encoding for name, tensor in graph.tensors.items())
    with pytest.raises(TinygenError, match=r"has shape \[5, 3, 8, 8\], not \['N', 3, 16, 16\]"):
        export(MODULE, CALIBRATION, torch.zeros(5, 3, 8, 8))
    for empty in ([], torch.zeros(0, 3, 16, 16)):
        with pytest.raises(TinygenError, match="no calibration samples"):
            export(MODULE, CALIBRATION, empty)
    with pytest.raises(TinygenError, match="not finite"):
        export(MODULE, CALIBRATION, CALIBRATION * float("inf"))
    with pytest.raises(TinygenError, match="calibration inputs are missing"):
        export(MODULE, CALIBRATION)


@pytest.mark.parametrize(
    "options", [{"method": "max"}, {"percentile": 50}, {"percentile": 101}, {"momentum": 0}, {"correction_samples": 0}]
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(TinygenError):
        QuantizeOptions(**options)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (-1, 0), (0, 6), (0.5, 6), (-3, -1), (-1e-30, 0), (-0.1, 100), (-8, 8)]
)
def test_affine(low: float, high: float) -> None:
    """Zero is a code; both ends are at most half a step beyond the codes."""
    encoding = affine(low, high)
    scale, zero = encoding.scale[0], encoding.zero_point[0]
    assert scale == np.float32(scale)
    assert -128 <= zero <= 127
    assert scale * (-128.5 - zero) <= low + 1e-6
    assert scale * (127.5 - zero) >= high - 1e-6


def test_unused_channels_and_large_biases() -> None:
    """Channels without weights keep their bias; a bias beyond 32 bits of tiny steps widens the step."""
    conv = torch.nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        conv.weight[0] = 0
        conv.weight[1] = 1e-9
        conv.bias[:] = torch.tensor([1.5, 2.0, -0.5, 0.0])
    found, wanted = real_outputs(exported(conv), CALIBRATION[:4].numpy()), conv(CALIBRATION[:4]).detach().numpy()
    assert np.abs(found - wanted).max() < 0.03


def test_sharing_keeps_fixed_ranges() -> None:
    """A sigmoid beside a wide range takes that scale, one beside a sigmoid its own, and softmax always its own."""

    class Module(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            wide = torch.cat([x, torch.sigmoid(x)], 1)
            narrow = torch.cat([torch.sigmoid(x), torch.sigmoid(x * 2)], 1)
            mixed = torch.cat([x, x.softmax(1)], 1)
            return wide, narrow, mixed

    graph = exported(Module())
    wide, narrow, mixed = (graph.tensors[name].affine for name in graph.outputs)
    assert narrow == Affine("int8", (1 / 256,), (-128,))
    assert wide.scale[0] > 0.02
    assert mixed.scale[0] > 0.02
    assert kinds(graph).count("quantize") == 1
    softmax = next(op for op in graph.ops if op.KIND == "softmax")
    assert graph.tensors[softmax.outputs[0]].affine == Affine("int8", (1 / 256,), (-128,))


def test_clamps_behind_pools() -> None:
    """conv, pool, ReLU is conv with ReLU, pool; but not where the pool's input is wanted as it is."""
    conv, pool, relu = torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2), torch.nn.ReLU()
    assert kinds(exported(torch.nn.Sequential(conv, pool, relu))) == ["conv_2d", "max_pool_2d"]

    class Shared(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return relu(pool(y)), y

    graph = exported(Shared())
    assert kinds(graph) == ["conv_2d", "max_pool_2d", "clamp"]
    assert graph.tensors[graph.outputs[1]].affine.zero_point[0] > -128


def test_host_c(graph: Graph, tmp_path: Path) -> None:
    """The int8 and the float networks as C: the former bit for bit."""
    mirror = randomize(Mirror(), 5)
    integer = [graph, exported(mirror, bias_correction=False)]
    floating = [export(module, CALIBRATION, float32=True) for module in (MODULE, mirror)]
    graphs = [replace(g, name=f"network_{number}") for number, g in enumerate((*integer, *floating))]
    feeds = [[[sample] for sample in codes_of(g, TEST.numpy()[:8])] for g in graphs]
    results = run_on_host([lower(simplify(g), isa=("c99", "dsp")) for g in graphs], feeds, tmp_path)
    for source, samples, rows in zip(graphs, feeds, results, strict=True):
        for sample, row in zip(samples, rows, strict=True):
            wanted = evaluate_all(source, sample)[source.outputs[0]]
            np.testing.assert_allclose(row[0], wanted, rtol=0, atol=1e-5 if wanted.dtype == np.float32 else 0)


def test_export_is_quiet() -> None:
    """torch's warnings about itself are nothing to act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        export(small(), np.zeros(SHAPE, np.float32), calibration=np.ones((2, *SHAPE[1:]), np.float32))
