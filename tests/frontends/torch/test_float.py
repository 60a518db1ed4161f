"""Float graphs against torch: every operator, and how it may be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.torch_models import kinds, need, outputs_of, randomize, transposes
from tinygen.ir.graph import Graph

torch = need("torch")
nn, F = torch.nn, torch.nn.functional
torch.set_num_threads(1)

from tinygen.frontends.torch import export  # noqa: E402

IMAGE = (1, 6, 8, 10)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def round_trip(x: Any) -> Any:
    """Dimensions split, joined and permuted until they are as before, in NHWC's order on the way."""
    return x.permute(0, 2, 3, 1).reshape(1, 8, 60).view(1, 8, 10, 6).permute(0, 3, 1, 2).relu()


def compare(module: Any, shape: tuple[int, ...], seed: int = 0) -> Graph:
    """The module's outputs and the graph's, on random inputs; gives the graph."""
    torch.manual_seed(seed)
    module = randomize(module if isinstance(module, nn.Module) else Function(module), seed)
    graph = export(module, torch.zeros(shape), float32=True)
    x = torch.randn((3, *shape[1:]))
    with torch.no_grad():
        rows = [module(row[None]) for row in x]
    for index in range(len(graph.outputs)):
        outputs = [row[index] if isinstance(row, tuple) else row for row in rows]
        wanted = np.concatenate([output.numpy() for output in outputs])
        found = outputs_of(graph, x.numpy(), index)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6 * max(1, np.abs(wanted).max()))
    return graph


FUNCTIONS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "relu": (torch.relu, ["clamp"]),
    "relu6": (F.relu6, ["clamp"]),
    "hardtanh": (F.hardtanh, ["clamp"]),
    "clamp": (lambda x: x.clamp(-0.3, 0.7), ["maximum", "minimum"]),
    "clamp_min": (lambda x: x.clamp(min=0), ["clamp"]),
    "clamp_max": (lambda x: x.clamp(max=0.5), ["minimum"]),
    "sigmoid": (torch.sigmoid, ["logistic"]),
    "tanh": (torch.tanh, ["tanh"]),
    "hardswish": (F.hardswish, ["hard_swish"]),
    "hardsigmoid": (F.hardsigmoid, ["hard_sigmoid"]),
    "silu": (F.silu, ["silu"]),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), ["leaky_relu"]),
    "gelu": (F.gelu, ["gelu"]),
    "gelu, tanh": (lambda x: F.gelu(x, approximate="tanh"), ["gelu"]),
    "elu": (F.elu, ["elu"]),
    "abs": (torch.abs, ["abs"]),
    "neg": (lambda x: -x, ["neg"]),
    "scalars": (lambda x: (3 - x * 2 + 1) / 4, ["mul", "sub", "add", "mul"]),
    "extrema": (lambda x: torch.maximum(x, -x) - torch.minimum(x, 2 * x), ["neg", "maximum", "mul", "minimum", "sub"]),
    "self": (lambda x: x * x + x, ["mul", "add"]),
    "in place": (lambda x: (x + 1).relu_().mul_(2), ["add", "mul"]),
    "scale channels": (lambda x: x * x.mean((2, 3), keepdim=True), ["mean", "mul"]),
    "mean, flat": (lambda x: x.mean((2, 3)), ["mean", "reshape"]),
    "mean of channels": (lambda x: x.mean(1), ["mean", "reshape"]),
    "mean of all": (lambda x: x.mean((1, 2, 3), keepdim=True), ["mean"]),
    "max pool": (lambda x: F.max_pool2d(x, 2), ["max_pool_2d"]),
    "max pool, padded": (lambda x: F.max_pool2d(x, 3, 2, 1), ["max_pool_2d"]),
    "max pool, ceil": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), ["max_pool_2d"]),
    "average pool": (lambda x: F.avg_pool2d(x, (2, 3)), ["average_pool_2d"]),
    "average pool, padded": (lambda x: F.avg_pool2d(x, 3, 1, 1), ["pad", "average_pool_2d"]),
    "average pool, not counted": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), ["average_pool_2d"]),
    "average pool, ceil": (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), ["average_pool_2d"]),
    "adaptive pool": (lambda x: F.adaptive_avg_pool2d(x, (4, 5)), ["average_pool_2d"]),
    "global pool": (lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1), ["mean", "reshape"]),
    "adaptive max pool": (lambda x: F.adaptive_max_pool2d(x, (2, 5)), ["max_pool_2d"]),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2), ["resize_nearest_neighbor"]),
    "nearest, fewer": (lambda x: F.interpolate(x, (5, 7)), ["resize_nearest_neighbor"]),
    "nearest, exact": (lambda x: F.interpolate(x, (5, 17), mode="nearest-exact"), ["resize_nearest_neighbor"]),
    "bilinear": (lambda x: F.interpolate(x, (13, 7), mode="bilinear"), ["resize_bilinear"]),
    "bilinear, aligned": (
        lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear", align_corners=True),
        ["resize_bilinear"],
    ),
    "cat": (lambda x: torch.cat([x, torch.relu(x)], 1), ["clamp", "concatenation"]),
    "cat of rows": (lambda x: torch.cat([x, x * 2], 2), ["mul", "concatenation"]),
    "halves": (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), ["strided_slice", "strided_slice", "concatenation"]),
    "parts": (lambda x: sum(x.split([1, 2, 3], 1)[1:2]) + 0.0, ["strided_slice", "add", "add"]),
    "slices": (lambda x: x[:, 1:5:2, 2:, -3:] + 0, ["strided_slice"] * 3 + ["add"]),
    "select": (lambda x: x[:, 2], ["strided_slice", "reshape"]),
    "pad": (lambda x: F.pad(x, (1, 2, 3, 0), value=0.5), ["pad"]),
    "reflect": (lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"), ["mirror_pad"]),
    "softmax": (lambda x: x.softmax(1), ["softmax"]),
    "dropout": (lambda x: F.dropout(x, 0.5, False) + 1, ["add"]),
    "round trip": (round_trip, ["clamp"]),
    "squeeze": (lambda x: x.mean(1, keepdim=True).squeeze(1).unsqueeze(1) * x, ["mean", "mul"]),
}


@pytest.mark.parametrize("part", range(3))
def test_functions(part: int) -> None:
    """Images stay NHWC: none of these moves an element. Several in one module: tracing takes most of the time."""
    chosen = list(FUNCTIONS.values())[part::3]
    graph = compare(lambda x: tuple(function(x) for function, _ in chosen), IMAGE)
    assert Counter(kinds(graph)) == Counter(kind for _, wanted in chosen for kind in wanted)


def test_orders_that_differ() -> None:
    """Where PyTorch mixes dimensions, a transposition stands, and the values are right."""
    assert transposes(compare(lambda x: x.flatten(1), IMAGE)) == ["output_transpose"]
    functions = [
        lambda x: x.softmax(2),
        lambda x: x.flatten(1) + x.permute(0, 2, 3, 1).flatten(1),
        lambda x: x.view(1, 4, 120).mean(1),
        lambda x: torch.matmul(x.flatten(2), x.flatten(2).transpose(1, 2)),
        lambda x: x.view(1, 2, 3, 8, 10).transpose(1, 2).reshape(1, 6, 8, 10) * 2,
    ]
    graph = compare(lambda x: tuple(function(x) for function in functions), IMAGE)
    assert len(transposes(graph)) >= len(functions)


@settings(max_examples=6)
@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    groups = data.draw(st.sampled_from([1, 1, 2, 3, 6]))
    kernel = (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    padding = data.draw(st.one_of(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.sampled_from(["same", "valid"])))
    stride = 1 if padding == "same" else data.draw(st.integers(1, 3))
    conv = nn.Conv2d(
        6,
        6 * data.draw(st.integers(1, 2)),
        kernel,
        stride,
        padding,
        data.draw(st.integers(1, 2)),
        groups,
        data.draw(st.booleans()),
    )
    graph = compare(nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()), IMAGE)
    assert ("depthwise_conv_2d" in kinds(graph)) == (groups == 6)
    assert set(kinds(graph)) <= {"conv_2d", "depthwise_conv_2d", "pad"}


@settings(max_examples=6)
@given(st.data())
def test_transposed_convolutions(data: st.DataObject) -> None:
    """What padding crops, and rows and columns that `output_padding` adds, also beyond the padding."""
    kernel = (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    stride = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    padding = tuple(data.draw(st.integers(0, size - 1)) for size in kernel)
    longer = tuple(data.draw(st.integers(0, step - 1)) for step in stride)
    conv = nn.ConvTranspose2d(6, 5, kernel, stride, padding, longer, bias=data.draw(st.booleans()))
    graph = compare(nn.Sequential(conv, nn.BatchNorm2d(5), nn.ReLU()), IMAGE)
    assert kinds(graph) == ["transpose_conv"]


def test_signals_get_longer() -> None:
    layers = [nn.ConvTranspose1d(6, 4, 5, 3, 1, 2), nn.ReLU(), nn.Upsample(scale_factor=2), nn.AdaptiveMaxPool1d(29)]
    found = kinds(compare(nn.Sequential(*layers), (1, 6, 9)))
    assert [kind for kind in found if kind not in ("reshape", "transpose")] == [
        "transpose_conv",
        "resize_nearest_neighbor",
        "max_pool_2d",
    ]


def test_linear_after_flatten() -> None:
    """The columns of the weights are permuted, not the activations; dropout and ReLU between do not matter."""
    layers = [nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(5 * 6 * 8, 7), nn.BatchNorm1d(7)]
    assert kinds(compare(nn.Sequential(*layers), IMAGE)) == ["conv_2d", "reshape", "fully_connected"]


@pytest.mark.parametrize("shape", [(1, 12), (1, 5, 12), (1, 2, 5, 12)])
def test_linear(shape: tuple[int, ...]) -> None:
    compare(nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 4, bias=False)), shape)


def test_signals() -> None:
    """[1, C, L]: rows of images, without a transposition but at the input."""
    layers = [
        nn.Conv1d(6, 8, 5, 2, 2, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, padding="same", groups=8, dilation=2),
        nn.BatchNorm1d(8),
        nn.ReLU6(),
        nn.AvgPool1d(3),
        nn.Conv1d(8, 4, 1),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ]
    assert kinds(compare(nn.Sequential(*layers), (1, 6, 48))) == [
        "reshape",
        "transpose",
        "reshape",
        "conv_2d",
        "max_pool_2d",
        "depthwise_conv_2d",
        "average_pool_2d",
        "conv_2d",
        "mean",
        "reshape",
        "fully_connected",
    ]


def test_batch_norm_alone() -> None:
    """Before a convolution, and behind one that something else reads too."""
    assert kinds(compare(nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 1)), IMAGE)) == [
        "mul",
        "add",
        "conv_2d",
    ]

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6, affine=False)

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return self.norm(y) + y

    assert kinds(compare(Shared(), IMAGE)) == ["conv_2d", "mul", "add", "add"]

    class SharedView(Shared):
        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return self.norm(y.view(IMAGE)) + y

    assert kinds(compare(SharedView(), IMAGE)) == ["conv_2d", "mul", "add", "add"]
    alone = nn.Sequential(nn.Linear(12, 6), nn.Unflatten(0, (1, 1)), nn.Flatten(0, 1), nn.BatchNorm1d(6))
    assert kinds(compare(alone, (1, 12))) == ["fully_connected"]
    assert kinds(compare(nn.Sequential(nn.BatchNorm1d(12), nn.PReLU(12)), (1, 12))) == ["mul", "add", "prelu"]


def test_two_inputs_and_outputs() -> None:
    module = Function(lambda a, b: (a + b.relu(), b.mean((2, 3))))
    graph = export(module, (torch.zeros(IMAGE), torch.zeros(IMAGE)), float32=True)
    assert [graph.tensors[name].shape for name in graph.inputs] == [(1, 8, 10, 6)] * 2
    assert [graph.tensors[name].shape for name in graph.outputs] == [(1, 8, 10, 6), (1, 6)]


def test_names_and_modes() -> None:
    """Operators are called after their modules; the module's own modes come back."""
    module = nn.Sequential(nn.Sequential(nn.Conv2d(6, 4, 1), nn.Dropout()), nn.Conv2d(4, 2, 1))
    module[1].eval()
    module.train(True)
    module[1].eval()
    graph = export(module, torch.zeros(IMAGE), float32=True, name="net")
    assert [op.name for op in graph.ops] == ["0_0", "1"]
    assert graph.name == "net"
    assert module.training
    assert module[0][1].training
    assert not module[1].training
