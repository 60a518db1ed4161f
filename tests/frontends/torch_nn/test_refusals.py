"""What is not read says what, where and what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.frontends.torch_nn.networks import Beside, Joined, images, like_trained
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.torch_nn import is_quantized, read_quantized
from tinygen.nn import Affine8, BinaryConnect, InputQuant, QuantConv2d, QuantLinear, ReLUQuant, Sign, Symmetric8

Forward = Callable[[nn.Module, Tensor], Tensor]


def _conv(channels: int = 3, filters: int = 4, kernel: int = 3) -> QuantConv2d:
    return QuantConv2d(channels, filters, kernel, weight_quantizer=Symmetric8())


def _dense(inputs: int = 64) -> QuantLinear:
    return QuantLinear(inputs, 2, weight_quantizer=Symmetric8())


def _network(*rest: nn.Module) -> nn.Sequential:
    return nn.Sequential(InputQuant(), _conv(), *rest)


class Written(nn.Module):
    """A quantized input and layer, then what a test writes."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.entry, self.layer, self.quantizer = InputQuant(), _conv(), ReLUQuant(3)
        self.bias = nn.Parameter(torch.ones(1))
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def _quantized(net: nn.Module, x: Tensor) -> Tensor:
    return net.quantizer(net.layer(net.entry(x)))


def _twice_quantized(net: nn.Module, x: Tensor) -> Tensor:
    return net.layer(net.entry(x)) + net.layer(net.quantizer(x))


def _branching(net: nn.Module, x: Tensor) -> Tensor:
    return net.layer(net.entry(x)) if x.sum() > 0 else x


MODULES: dict[str, tuple[nn.Module, str]] = {
    "no input quantizer": (
        nn.Sequential(_conv()),
        "0: the model's input has no quantizer\nPut tinygen.nn.InputQuant() in front",
    ),
    "batch norm of the input": (nn.Sequential(nn.BatchNorm2d(3), Sign(), _conv()), "0: the model's input has no quant"),
    "no quantizer between": (_network(nn.BatchNorm2d(4), _conv(4)), "3: its input, from 1 on, is real values"),
    "float layer": (_network(ReLUQuant(2), nn.Conv2d(4, 2, 3)), "3: Conv2d is not read in quantized networks\ntinygen"),
    "unknown activation": (_network(nn.Sigmoid(), Affine8()), "2: Sigmoid is not read in quantized networks\nUse ReLU"),
    "nested": (nn.Sequential(_network(nn.Sequential(nn.Tanh()))), "0.2.0: Tanh is not read"),
    "ceil mode": (_network(Sign(), nn.MaxPool2d(2, ceil_mode=True)), "3: a max pool with ceil_mode"),
    "padded average": (_network(Sign(), nn.AvgPool2d(2, padding=1)), "3: an average pool with padding"),
    "uneven adaptive": (_network(Sign(), nn.AdaptiveAvgPool2d(3)), "3: an adaptive average of 4x4 to 3x3"),
    "average of reals": (_network(nn.AvgPool2d(2)), "2: its input, from 1 on, is real values"),
    "pool of vectors": (
        nn.Sequential(InputQuant(), nn.Flatten(), Sign(), nn.Unflatten(1, (3, 36))),
        "3: Unflatten is not read",
    ),
    "batch norm alone": (
        _network(nn.BatchNorm2d(4, track_running_stats=False), Sign()),
        "2: a batch norm without running statistics",
    ),
    "batch norm of columns": (_network(nn.Flatten(), nn.BatchNorm1d(64), Sign()), "3: a batch norm of 64 features beh"),
    "slopes of columns": (_network(nn.Flatten(), nn.PReLU(64), Sign()), "3: 64 slopes behind 4 channels"),
    "partial flattening": (_network(Sign(), nn.Flatten(2)), "3: a flattening of dimensions 2 to -1"),
    "flattened image": (_network(Sign(), nn.Flatten()), "2: the output is an image [1, 4, 4, 4], flattened"),
    "slope without quantizer": (_network(nn.PReLU(4)), "1: an output behind a PReLU, with no quantizer"),
    "dense along an axis": (_network(Sign(), _dense(4)), "3: a dense layer along one axis of [1, 4, 4, 4]"),
    "clamped sum": (
        _network(Beside(nn.Identity(), nn.ReLU()), Affine8()),
        "add: a sum of what is clamped behind 1 and not quant",
    ),
    "other encodings": (
        _network(Joined(ReLUQuant(2), Affine8(), nn.Identity())),
        "cat: parts of different encodings: int8",
    ),
    "bits": (_network(Joined(nn.Identity(), nn.Identity(), Sign())), "cat: bits of [4, 4] channels side by side"),
    "real parts": (_network(Joined(nn.Identity(), nn.Identity(), nn.Identity())), "cat: its input, from 1 on, is real"),
    "nothing": (nn.Identity(), "model: the module gives back its input"),
}

FUNCTIONS: dict[str, tuple[Forward, str]] = {
    "function": (lambda net, x: torch.sigmoid(_quantized(net, x)), "sigmoid: the function sigmoid is not read"),
    "product": (lambda net, x: _quantized(net, x) * _quantized(net, x), "mul: mul of two tensors is not read"),
    "matrix": (lambda net, x: torch.sum(_quantized(net, x)), "sum_1: the function sum is not read"),
    "number": (lambda net, x: _quantized(net, x) + 1, "add: a sum with a number"),
    "alpha": (lambda net, x: torch.add(_quantized(net, x), _quantized(net, x), alpha=2), "add: a sum with a number"),
    "parameter": (lambda net, x: _quantized(net, x) + net.bias, "bias: a get attr"),
    "broadcast": (
        lambda net, x: _quantized(net, x) + nn.functional.adaptive_avg_pool2d(_quantized(net, x), 1),
        "add: a sum of [1, 4, 4, 4] and [1, 1, 1, 4]",
    ),
    "rows": (lambda net, x: torch.cat([_quantized(net, x)] * 2, 2), "cat: a concatenation along dimension 2"),
    "raw part": (lambda net, x: torch.cat([net.entry(x), x], 1), "cat: the model's input has no quantizer"),
    "number in parts": (lambda net, x: torch.cat([net.entry(x), net.bias.expand(x.shape)], 1), "bias: a get attr"),
    "mean": (lambda net, x: _quantized(net, x).mean(1), "mean: a mean over 1"),
    "dtype": (lambda net, x: _quantized(net, x).mean((2, 3), dtype=torch.float64), "mean: a mean over"),
    "view": (lambda net, x: _quantized(net, x).view(-1, 4, 16), "view: the function view is not read"),
    "two inputs to a layer": (lambda net, x: net.layer(net.entry(x), None), "layer: a module called with anything but"),
    "input twice": (_twice_quantized, "quantizer: the model's input is quantized a second time"),
    "branch": (_branching, "Written: the module's forward() depends on values"),
    "pair": (lambda net, x: (net.entry(x), net.entry(x)), "the output: forward() gives back a tuple"),
}


def _refused(network: nn.Module, x: Tensor, message: str) -> None:
    network = like_trained(network, x)
    with pytest.raises(TinygenError) as caught:
        read_quantized(network, x)
    assert str(caught.value).startswith(message)
    assert caught.value.where and caught.value.fix


@pytest.mark.parametrize("case", MODULES)
def test_modules(case: str) -> None:
    torch.manual_seed(0)
    network, message = MODULES[case]
    _refused(network, images(4, 3, 6, 6), message)


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functions(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    forward, message = FUNCTIONS[case]
    monkeypatch.setattr(QuantConv2d, "forward", _tolerant(QuantConv2d.forward))
    _refused(Written(forward), images(4, 3, 6, 6), message)


def _tolerant(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Takes a second argument: the module is run before it is read."""
    return lambda self, x, *_: forward(self, x)


def test_flattened_before_it_is_quantized() -> None:
    _refused(nn.Sequential(nn.Flatten(), InputQuant(), _dense(108)), images(4, 3, 6, 6), "0: an image of several chan")


def test_negative_slopes() -> None:
    network = like_trained(_network(nn.PReLU(4), Affine8()), images(4, 3, 6, 6))
    with torch.no_grad():
        network[2].weight[1] = -0.25
    with pytest.raises(UnsupportedError, match=r"2: a slope of -0\.25"):
        read_quantized(network, images(1, 3, 6, 6))


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entry = InputQuant()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.entry(x)


def test_several_inputs() -> None:
    network = like_trained(_Two(), x := images(4, 3, 6, 6))
    with pytest.raises(UnsupportedError, match="y: a module with several inputs\nGive it one tensor"):
        read_quantized(network, x)


def test_quantizers_that_have_seen_nothing() -> None:
    network = nn.Sequential(InputQuant(), nn.Sequential(_conv(), Affine8()))
    with pytest.raises(ModelError, match=r"^0 \(InputQuant\): the range of the activations is not known\nTrain"):
        read_quantized(network, images(1, 3, 6, 6))
    network[0](images(1, 3, 6, 6))
    with pytest.raises(ModelError, match=r"^1\.1 \(Affine8\): the range"):
        read_quantized(network, images(1, 3, 6, 6))


def test_examples_of_another_shape() -> None:
    network = like_trained(_network(Sign()), images(4, 3, 6, 6))
    with pytest.raises(ModelError, match=r"Sequential: it does not take an input of \[1, 2, 6, 6\]"):
        read_quantized(network, images(1, 2, 6, 6))


def test_names() -> None:
    network = like_trained(_network(Sign()), images(4, 3, 6, 6))
    with pytest.raises(TinygenError, match="my-net"):
        read_quantized(network, images(1, 3, 6, 6), "my-net")


def test_modes_stay_as_they_were() -> None:
    network = like_trained(_network(nn.BatchNorm2d(4), Sign()), images(4, 3, 6, 6)).train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    read_quantized(network, images(1, 3, 6, 6))
    assert [part.training for part in network] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_which_modules_are_quantized() -> None:
    assert is_quantized(_network()) and is_quantized(nn.Sequential(nn.ReLU(), Sign()))
    assert is_quantized(QuantLinear(3, 2, weight_quantizer=BinaryConnect()))
    assert not is_quantized(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()))
