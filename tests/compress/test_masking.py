"""Masks on networks hold through training, can be exchanged, read back and made permanent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn, optim

from tinygen.compress.criteria import weight_norm
from tinygen.compress.magnitude import magnitude_scores
from tinygen.compress.masking import apply_masks, copy_network, make_permanent, masks_of, sparsity
from tinygen.compress.masks import prunable
from tinygen.errors import ModelError
from tinygen.nn import RECIPES, convert

torch.set_num_threads(1)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1, groups=3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 4),
    )


def masks_for(net: nn.Module, kernels: bool = True, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: layer.weight.shape[: 2 if kernels else None] for name, layer in prunable(net).items()}
    return {name: torch.rand(shape, generator=generator) < 0.5 for name, shape in shapes.items()}


def train(net: nn.Module, optimizer: optim.Optimizer, steps: int = 5) -> None:
    generator = torch.Generator().manual_seed(1)
    net.train()
    for _ in range(steps):
        x, y = torch.randn(8, 2, 6, 6, generator=generator), torch.randint(0, 4, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    net.eval()


def effective(layer: nn.Module) -> Tensor:
    return layer.quantized_weight() if hasattr(layer, "quantized_weight") else layer.weight


@pytest.mark.parametrize("recipe", ["float", *RECIPES])
@pytest.mark.parametrize("kernels", [True, False])
def test_masks_hold_through_momentum_and_weight_decay(recipe: str, kernels: bool) -> None:
    net = network() if recipe == "float" else convert(network(), recipe)
    # The optimiser is older than the masks, and its momentum knows gradients of what is then removed.
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    train(net, optimizer, 2)
    masks = masks_for(net, kernels)
    apply_masks(net, masks)
    before = {name: effective(layer).clone() for name, layer in prunable(net).items()}
    train(net, optimizer)
    for name, layer in prunable(net).items():
        kept = masks_of(net)[name]
        assert torch.equal(
            kept, masks[name].reshape(masks[name].shape + (1,) * (kept.dim() - masks[name].dim())).expand(kept.shape)
        )
        assert not effective(layer)[~kept].any()
        raw = layer.weight if hasattr(layer, "quantized_weight") else layer.weight_orig
        assert raw.grad is None or not raw.grad[~kept].any()
    assert any(not torch.equal(effective(layer), before[name]) for name, layer in prunable(net).items())


def test_adam_holds_masks_too() -> None:
    net = network()
    optimizer = optim.AdamW(net.parameters(), lr=0.05, weight_decay=0.1)
    train(net, optimizer, 3)
    apply_masks(net, masks_for(net))
    train(net, optimizer)
    assert all(not layer.weight[~masks_of(net)[name]].any() for name, layer in prunable(net).items())


def test_a_masked_network_is_one_with_zeros() -> None:
    masked, zeroed = network(3).eval().double(), network(3).eval().double()
    masks = masks_for(masked, kernels=False)
    apply_masks(masked, masks)
    with torch.no_grad():
        for name, layer in prunable(zeroed).items():
            layer.weight *= masks[name]
    x = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(5)).double()
    assert torch.equal(masked(x), zeroed(x))


def test_masks_can_be_exchanged() -> None:
    net = network()
    original = {name: layer.weight.detach().clone() for name, layer in prunable(net).items()}
    apply_masks(net, masks_for(net, seed=1))
    apply_masks(net, {name: torch.ones_like(mask) for name, mask in masks_for(net).items()})
    assert all(torch.equal(layer.weight, original[name]) for name, layer in prunable(net).items())
    only = {"0": torch.eye(6, 2, dtype=torch.bool)}
    apply_masks(net, only)
    assert torch.equal(masks_of(net)["0"][:, :, 1, 2], only["0"])
    assert bool(masks_of(net)["8"].all()), "layers that are not named keep their masks"


def test_masks_outlive_copies_states_and_conversion() -> None:
    net = network()
    masks = masks_for(net, kernels=False)
    apply_masks(net, masks)
    train(net, optim.SGD(net.parameters(), lr=0.1), 1)
    net.train()(torch.zeros(2, 2, 6, 6))  # its weights are results of operators, which torch refuses to copy
    other = network(9)
    apply_masks(other, {name: torch.ones_like(mask) for name, mask in masks.items()})
    other.load_state_dict(net.state_dict())
    for found in (copy_network(net), other, convert(net, "ternary")):
        assert {name: mask.tolist() for name, mask in masks_of(found).items()} == {
            n: m.tolist() for n, m in masks.items()
        }
    x = torch.randn(2, 2, 6, 6)
    assert torch.equal(other.eval()(x), net.eval()(x))
    assert sparsity(other).total == sparsity(net).total


def test_permanent_zeros() -> None:
    net = network().eval()
    apply_masks(net, masks_for(net))
    x = torch.randn(2, 2, 6, 6)
    expected, share = net(x), sparsity(net)
    assert torch.equal(make_permanent(net)(x), expected)
    assert not masks_of(net) and sparsity(net) == share
    assert all(isinstance(layer.weight, nn.Parameter) for layer in prunable(net).values())


def test_sparsity_counts_weights() -> None:
    net = network()
    assert sparsity(net).total == 0.0
    kernels = torch.ones(6, 2, dtype=torch.bool)
    kernels[:3, 0] = False
    apply_masks(net, {"0": kernels})
    found = sparsity(net)
    assert found.layers == {"0": 0.25, "3": 0.0, "8": 0.0}
    assert found.total == 27 / (108 + 108 + 216)
    with pytest.raises(ModelError, match="no convolution or dense layer"):
        sparsity(nn.ReLU())


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"1": torch.ones(6, 2, dtype=torch.bool)}, "1: no convolution or dense layer\nLayers: 0, 3, 8"),
        ({"0": torch.ones(6, 2)}, r"0: a mask torch.float32 \[6, 2\] .*\nGive torch.bool \[6, 2\]"),
        ({"3": torch.ones(6, 6, dtype=torch.bool)}, r"3: a mask torch.bool \[6, 6\] .*\nGive torch.bool \[6, 2\]"),
        ({"0": torch.ones(6, dtype=torch.bool)}, r"Give torch.bool \[6, 2, 3, 3\]"),
    ],
)
def test_bad_masks_are_refused(masks: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        apply_masks(network(), masks)


def test_scores_are_of_the_weights_of_now() -> None:
    """A step, or a state dict, moves what masked weights are made of; the next forward pass would see it first."""
    net = network()
    apply_masks(net, {"3": torch.arange(12).reshape(6, 2) % 3 > 0})
    net(torch.zeros(1, 2, 6, 6))
    state = {name: 2 * value if name.endswith("weight_orig") else value for name, value in net.state_dict().items()}
    before = weight_norm(net)["3"], magnitude_scores(net)["3"]
    net.load_state_dict(state)
    assert torch.equal(weight_norm(net)["3"], 2 * before[0])
    net(torch.zeros(1, 2, 6, 6))
    net[3].weight_orig.data.mul_(2)
    assert torch.equal(magnitude_scores(net)["3"], 4 * before[1])
