"""convert() by every recipe, calibrate(), and short trainings that must learn."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tinygen
import tinygen.nn as tnn
from tests.nn.test_weight_quantizers import weights_of
from tests.support.float_networks import NETWORKS
from tinygen.errors import TinygenError, UnsupportedError

torch.set_num_threads(1)

INNER: dict[str, tuple[type, type]] = {
    "int8": (tnn.Symmetric8, tnn.Affine8),
    "w4a4": (tnn.TanhQuant, tnn.ReLUQuant),
    "w2a2": (tnn.TanhQuant, tnn.ReLUQuant),
    "ternary": (tnn.Ternary, tnn.Affine8),
    "binary-weights": (tnn.BWN, tnn.Affine8),
    "xnor": (tnn.XNORNet, tnn.Sign),
    "log": (tnn.LogQuant, tnn.Affine8),
    "apsq": (tnn.APSQ, tnn.Affine8),
    "codebook-16": (tnn.CodebookQuant, tnn.Affine8),
}


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding="same", bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    if importlib.util.find_spec("sklearn") is None and os.environ.get("TINYGEN_CI") != "1":
        pytest.skip("scikit-learn is not installed")
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.from_numpy(images.reshape(-1, 1, 8, 8).astype(np.float32) / 16), torch.from_numpy(labels)


def train(network: nn.Module, epochs: int, rate: float, regulariser: float = 0.0) -> list[float]:
    """Mean loss of each epoch."""
    images, labels = digits()
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(1200).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            (loss + regulariser * tnn.angle_regulariser(network)).backward()
            optimizer.step()
            total += float(loss.detach())
        losses.append(total / 19)
    return losses


def accuracy(network: nn.Module) -> float:
    images, labels = digits()
    network.eval()
    with torch.no_grad():
        return float((network(images[1200:]).argmax(1) == labels[1200:]).float().mean())


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    network = small_network()
    train(network, 4, 2e-3)
    assert accuracy(network) > 0.9
    return network


@pytest.mark.parametrize("recipe", tnn.RECIPES)
def test_recipes_quantize_all_but_keep_the_ends_at_8_bits(recipe: str) -> None:
    original = small_network()
    before = copy.deepcopy(original.state_dict())
    network = tnn.convert(original, recipe)
    weights, activation = INNER[recipe]
    kinds = [type(network[i].weight_quantizer) for i in (0, 3, 7, 11)]
    assert kinds == [tnn.Symmetric8, weights, weights, tnn.Symmetric8]
    assert [type(network[i]) for i in (2, 5, 9)] == [activation] * 3
    assert isinstance(network[0].input_quantizer, tnn.InputQuant)
    assert all(network[i].input_quantizer is None for i in (3, 7, 11))
    assert network[3].padding == "same" and network[7].groups == 2 and network[3].bias is None
    if activation is tnn.Affine8:
        assert network[5].limit == 6.0 and network[2].limit == float("inf")
    # The original is as it was; the copy starts from its weights but does not share them.
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    assert torch.equal(network[3].weight, original[3].weight) and network[3].weight is not original[3].weight
    x = weights_of(1, (8, 1, 8, 8), 1.0)
    network(x).sum().backward()
    assert network.eval()(x).shape == (8, 10) and network[0].weight.grad is not None
    for i in (0, 3, 7, 11):
        codes, encoding = network[i].weight_codes()
        assert codes.dtype == encoding.dtype and codes.shape == network[i].weight.shape


def test_int8_after_calibration_agrees_with_float(trained: nn.Module) -> None:
    images, _ = digits()
    network = tnn.convert(trained, "int8")
    batch_norm = copy.deepcopy(network[1].state_dict())
    tnn.calibrate(network, images[:1200].split(200))
    assert all(torch.equal(batch_norm[name], value) for name, value in network[1].state_dict().items())
    assert accuracy(network) >= accuracy(trained) - 0.01


@pytest.mark.parametrize("recipe", ["w2a2", "xnor", "ternary", "codebook-16"])
def test_training_on_reduces_the_loss(trained: nn.Module, recipe: str) -> None:
    network = tnn.convert(trained, recipe).train()
    losses = train(network, 3, 2e-3)
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy(network) > 0.8


def test_apsq_with_its_regulariser_learns_and_closes_the_angle(trained: nn.Module) -> None:
    network = tnn.convert(trained, "apsq").train()
    start = float(tnn.angle_regulariser(network).detach())
    losses = train(network, 3, 2e-3, regulariser=5.0)
    assert losses[-1] < losses[0] and accuracy(network) > 0.8
    assert float(tnn.angle_regulariser(network).detach()) < 0.8 * start


def test_layers_named_stay_at_8_bits() -> None:
    network = tnn.convert(small_network(), "w2a2", eight_bit=["3"], quantize_input=False)
    kinds = [type(network[i].weight_quantizer) for i in (0, 3, 7, 11)]
    assert kinds == [tnn.TanhQuant, tnn.Symmetric8, tnn.TanhQuant, tnn.TanhQuant]
    assert network[0].input_quantizer is None


def test_modules_registered_twice_are_replaced_twice() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.relu = nn.Linear(4, 4), nn.Linear(4, 2), nn.ReLU()
            self.all = nn.Sequential(self.first, self.relu)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.all(x) + self.first(x))

    network = tnn.convert(Net(), "int8")
    assert network.all[0] is network.first and isinstance(network.first, tnn.QuantLinear)
    assert network.all[1] is network.relu and isinstance(network.relu, tnn.Affine8)


def test_a_lone_layer_is_converted() -> None:
    assert isinstance(tnn.convert(nn.Linear(3, 2), "w4a4"), tnn.QuantLinear)


@pytest.mark.parametrize(
    ("network", "recipe", "eight_bit", "message"),
    [
        (nn.Linear(2, 2), "w3", None, "recipe 'w3'"),
        (nn.Sequential(nn.Linear(2, 2)), "int8", ["1"], "no layer 1"),
        (nn.Sequential(nn.Flatten()), "int8", None, "no Conv2d or Linear"),
        (nn.Sequential(nn.Linear(2, 2), nn.GELU()), "int8", None, "Sequential.1: GELU"),
        (nn.Sequential(nn.Conv1d(2, 2, 1)), "int8", None, "Conv1d"),
        (tnn.QuantLinear(2, 2, weight_quantizer=tnn.BWN()), "int8", None, "quantized already"),
    ],
)
def test_what_cannot_be_converted_is_named(
    network: nn.Module, recipe: str, eight_bit: list[str] | None, message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        tnn.convert(network, recipe, eight_bit=eight_bit)


def test_calibration_needs_a_batch_and_restores_modes() -> None:
    network = tnn.convert(small_network(), "int8").train()
    network[1].eval()
    tnn.calibrate(network, [weights_of(2, (4, 1, 8, 8))])
    assert network.training and network[0].input_quantizer.training and not network[1].training
    with pytest.raises(UnsupportedError, match="at least one"):
        tnn.calibrate(network, [])


def _refusal(network: nn.Module, recipe: str = "int8", **options: object) -> str:
    with pytest.raises(TinygenError) as caught:
        tnn.convert(network, recipe, **options)
    assert caught.value.fix
    return str(caught.value).replace("\n", " ")


class Written(nn.Module):
    """Two layers, and what a test writes."""

    def __init__(self, forward: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.scale = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 1), nn.Parameter(torch.ones(1))
        self._forward = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda net, x: torch.log_softmax(net.first(x), 1), "Written (log_softmax): the function log_softmax has no"),
        (lambda net, x: net.first(x) + 1, "Written (add): a sum with a number"),
        (lambda net, x: net.first(x) + net.scale, "Written (scale): a parameter or buffer"),
        (lambda net, x: torch.cat([net.first(x)] * 2, 2), "Written (cat): a concatenation along dimension 2"),
        (lambda net, x: net.first(x).mean(1), "Written (mean): a mean over 1"),
        (lambda net, x: nn.functional.max_pool2d(net.first(x), 2, ceil_mode=True), "Written (max_pool2d): a max pool"),
        (lambda net, x: (net.first(x), net.second(x)), "Written: forward() gives back a tuple"),
        (lambda net, x: net.first(x) if x.sum() > 0 else x, "Written: the module's forward() depends on values"),
        (lambda net, x: x, "Written: forward() uses no Conv2d or Linear"),
    ],
)
def test_what_forward_does_and_cannot_be_exported_is_named(
    forward: Callable[[nn.Module, torch.Tensor], torch.Tensor], message: str
) -> None:
    assert _refusal(Written(forward)).startswith(message)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Softmax(1), "Sequential.2: Softmax has no quantized form Leave it to the loss"),
        (nn.AvgPool2d(2, padding=1), "Sequential.2: an average pool with padding"),
        (nn.BatchNorm2d(4, track_running_stats=False), "Sequential.2: a batch norm without running statistics"),
        (nn.Flatten(2), "Sequential.2: a flattening of dimensions 2"),
        (nn.Upsample(scale_factor=2), "Sequential.2: Upsample has no quantized form"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "Sequential.2: padding mode 'reflect'"),
    ],
)
def test_modules_that_cannot_be_exported_are_named(layer: nn.Module, message: str) -> None:
    assert _refusal(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), layer)).startswith(message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3)), "Sequential.2: an adaptive av"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)), "Sequential.2: a dense layer along"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()), "Sequential.1: the output is an"),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), "Sequential: it does not take an input of [1, 3, 6, 6]"),
    ],
)
@pytest.mark.parametrize("quantize_input", [True, False])
def test_an_example_shows_what_depends_on_shapes(
    make: Callable[[], nn.Module], message: str, quantize_input: bool
) -> None:
    tnn.convert(make(), "int8")
    options = {"example_input": np.zeros((2, 3, 6, 6), np.float32), "quantize_input": quantize_input}
    assert _refusal(make(), **options).startswith(message)


def test_an_example_changes_nothing() -> None:
    found = []
    for options in ({}, {"example_input": torch.zeros(4, 1, 8, 8)}):
        torch.manual_seed(1)
        found.append(tnn.convert(small_network().train(), "apsq", **options))
    first, second = (network.state_dict() for network in found)
    assert list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)
    assert all(module.training for module in found[1].modules())


def test_functions_become_modules_that_train_and_are_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    make = NETWORKS["functions"].make
    network = tnn.convert(make(), "w2a2").train()
    assert {name for name, _ in make().named_parameters()} == {name for name, _ in network.named_parameters()}
    assert sum(isinstance(module, tnn.ReLUQuant) for module in network.modules()) == 3
    x = weights_of(1, (4, 1, 14, 14), 1.0)
    assert not torch.equal(network(x), network(x))  # dropout follows the mode
    network(x).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    torch.save(network, tmp_path / "network.pt")
    other = tnn.convert(make().eval(), "w2a2")
    assert not any(module.training for module in other.modules())
    other.load_state_dict(network.state_dict())
    for same in (copy.deepcopy(network), torch.load(tmp_path / "network.pt", weights_only=False), other):
        assert torch.equal(same(x), network(x))


def test_layers_and_quantizers_follow_the_order_of_use() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.middle, self.first = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.middle(torch.relu(self.first(x))))

    network = tnn.convert(Backwards(), "ternary")
    assert isinstance(network.first.input_quantizer, tnn.InputQuant)
    assert isinstance(network.middle.weight_quantizer, tnn.Ternary) and network.middle.input_quantizer is None
    assert isinstance(network.last.weight_quantizer, tnn.Symmetric8)
    assert type(network.last.input_quantizer) is tnn.Affine8  # nothing rectifies what it reads


def test_relus_that_are_concatenated_share_a_quantizer() -> None:
    network = tnn.convert(NETWORKS["concatenations"].make(), "int8")
    first, second = (network.get_submodule(path) for path in ("first.2", "second.2"))
    assert first is second is not network.relu


def test_averages_get_quantizers_only_where_their_sums_may_leave_16_bits() -> None:
    def entry(pool: nn.Module, recipe: str = "int8") -> nn.Module | None:
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(2, 2))
        return tnn.convert(network, recipe)[4].input_quantizer

    assert entry(nn.AvgPool2d(11)) is None and entry(nn.AvgPool2d((12, 180)), "w4a4") is None
    for pool, recipe in (
        (nn.AvgPool2d(12), "int8"),
        (nn.AvgPool2d((12, 190)), "w4a4"),
        (nn.AdaptiveAvgPool2d(1), "w2a2"),
    ):
        assert type(entry(pool, recipe)) is tnn.Affine8


def test_many_sums_are_quantized_that_would_leave_32_bits_together() -> None:
    """As the 1,280 features of MobileNet v2 do, with weights as they are initialised."""

    def made(features: int) -> nn.Sequential:
        layers = [nn.Conv2d(1, features, 3), nn.BatchNorm2d(features), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()]
        return tnn.convert(nn.Sequential(*layers, nn.Linear(features, 2)), "int8")

    few, many = made(1024), made(1280)
    assert few[5].input_quantizer is None and type(many[5].input_quantizer) is tnn.Affine8
    example = torch.rand(1, 1, 4, 4)
    for network in (few, many):
        network.train()(example)
        tinygen.export(network.eval(), example)


F = nn.functional
_FORMS: dict[str, Callable[[nn.Module, torch.Tensor], torch.Tensor]] = {
    "torch.relu": lambda net, x: torch.relu(x),
    "F.relu": lambda net, x: F.relu(x, inplace=True),
    "F.relu6": lambda net, x: F.relu6(x),
    "x.relu()": lambda net, x: x.relu(),
    "x.relu_()": lambda net, x: x.relu_(),
    "F.max_pool2d": lambda net, x: F.max_pool2d(torch.relu(x), 2),
    "torch.max_pool2d": lambda net, x: torch.max_pool2d(torch.relu(x), 2),
    "F.avg_pool2d": lambda net, x: F.avg_pool2d(torch.relu(x), 2),
    "F.adaptive_avg_pool2d": lambda net, x: F.adaptive_avg_pool2d(torch.relu(x), 2),
    "F.dropout": lambda net, x: F.dropout(torch.relu(x), 0.5, net.training),
    "x.contiguous()": lambda net, x: torch.relu(x).contiguous(),
    "a + b": lambda net, x: torch.relu(x) + x,
    "a - b": lambda net, x: torch.relu(x) - x,
    "torch.add": lambda net, x: torch.add(torch.relu(x), x),
    "torch.sub": lambda net, x: torch.sub(torch.relu(x), x),
    "x.add(y)": lambda net, x: torch.relu(x).add(x),
    "x.sub(y)": lambda net, x: torch.relu(x).sub(x),
    "torch.cat": lambda net, x: net.joined(torch.cat([torch.relu(x), torch.relu(net.second(x))], 1)),
}
_FLAT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "torch.flatten(x, 1)": lambda x: torch.flatten(x, 1),
    "x.flatten(1)": lambda x: x.flatten(1),
    "x.view(len, -1)": lambda x: x.view(x.size(0), -1),
    "x.reshape(len, -1)": lambda x: x.reshape(x.shape[0], -1),
    "x.mean((2, 3))": lambda x: x.mean((2, 3)),
    "torch.mean": lambda x: torch.mean(x, (2, 3)),
}


@pytest.mark.parametrize("flat", _FLAT)
def test_forms_of_the_page(flat: str) -> None:
    """Each call that docs/low-bit.md names converts, and is exported; three at a time behind one flattening."""

    class Form(nn.Module):
        def __init__(self, form: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.LazyLinear(2)
            self.joined = nn.Conv2d(8, 4, 1)
            self.form = form

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(_FLAT[flat](torch.relu(self.second(self.form(self, self.first(x))))))

    page = (Path(__file__).parents[2] / "docs" / "low-bit.md").read_text()
    start = list(_FLAT).index(flat)
    for name in list(_FORMS)[start :: len(_FLAT)]:
        network, x = Form(_FORMS[name]).eval(), torch.zeros(1, 1, 10, 10)
        network(x)
        tnn.convert(network, "int8", example_input=x)
        assert name in page.replace("in place, too", "x.relu_()") and flat in page, name
