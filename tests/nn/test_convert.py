"""convert() by every recipe, calibrate(), and short trainings that must learn."""

from __future__ import annotations

import copy
import importlib.util
import os

import numpy as np
import pytest
import torch
from torch import nn

import tinygen.nn as tnn
from tests.nn.test_weight_quantizers import weights_of
from tinygen.errors import UnsupportedError

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
            self.all = nn.Sequential(self.first, self.relu, self.last)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.relu(self.all(x)[:, :1] + self.first(x)))

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
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "int8", None, "no nn.ReLU"),
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
