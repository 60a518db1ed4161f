"""Pruned networks made switchable: one mask holds in all switches, in training and on the board."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn.utils import prune

from tests.support.switchable_networks import float_network, images
from tests.support.torch_oracle import compare_with_torch
from tinygen.compress.masking import apply_masks, masks_of, sparsity
from tinygen.compress.masks import prunable
from tinygen.nn.switchable import SwitchSpec, calibrate_switches, extract, switchable, switched

torch.set_num_threads(1)
SWITCHES = [SwitchSpec(8, 8), SwitchSpec(4, 4), SwitchSpec(2, 2, 0.5), SwitchSpec(1, 4), SwitchSpec(32, 32, 0.5)]


def pruned(kernels: bool = False) -> tuple[nn.Module, dict[str, Tensor]]:
    net = float_network("usual")
    generator = torch.Generator().manual_seed(3)
    shapes = {name: layer.weight.shape[: 2 if kernels else None] for name, layer in prunable(net).items()}
    apply_masks(net, {name: torch.rand(shape, generator=generator) < 0.5 for name, shape in shapes.items()})
    return net, masks_of(net)


def made(family: str = "tanh", switches: list[SwitchSpec] = SWITCHES, kernels: bool = False) -> nn.Module:
    network = switchable(pruned(kernels)[0], switches, family)
    calibrate_switches(network, [images(32)])
    return network


@pytest.mark.parametrize("family", ["tanh", "scaled", "codebook"])
@pytest.mark.parametrize("kernels", [False, True])
def test_masks_hold_in_every_switch(family: str, kernels: bool) -> None:
    switches = SWITCHES if family == "tanh" else [SwitchSpec(4, 4), SwitchSpec(2, 2, 0.5)]
    network, x = made(family, switches, kernels), images(20)
    masks = masks_of(network)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        n: m.tolist() for n, m in pruned(kernels)[1].items()
    }
    for spec in switches:
        plain = extract(network, spec)
        with switched(network, spec.name):
            assert torch.equal(plain(x), network(x))
        for name, layer in prunable(plain).items():
            weights = layer.quantized_weight() if hasattr(layer, "quantized_weight") else layer.weight
            rows, columns = network.get_submodule(name.removesuffix(".1"))._kept[spec.width]
            assert not weights[~masks[name.removesuffix(".1")][rows][:, columns]].any()
        if spec.activation_bits != 32:
            compare_with_torch(plain, x, f"masked switches, {family}")


class WithSpare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.spare = float_network("usual"), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_masks_elsewhere() -> None:
    """On a batch norm they are what it starts from; on a layer that is never called they do not matter."""
    net = WithSpare().eval()
    apply_masks(net, {"spare": torch.eye(3, dtype=torch.bool), "inner.3": torch.eye(7, 10, dtype=torch.bool)})
    prune.custom_from_mask(net.inner[1], "weight", torch.arange(10) < 4)
    both, x = switchable(net, [SwitchSpec(32, 32), SwitchSpec(4, 4)]), images(5)
    assert torch.equal(both(x), net(x)) and list(masks_of(both)) == ["inner.3"]


def test_the_float_switch_is_the_pruned_network() -> None:
    net, masks = pruned()
    net.eval()
    both, x = switchable(net, [SwitchSpec(32, 32), SwitchSpec(4, 4)]), images(5)
    assert torch.equal(both(x), net(x)) and sparsity(both).total == sparsity(net).total > 0.4
    assert all(torch.equal(mask, masks[name]) for name, mask in masks_of(both).items())
    other = switchable(float_network("usual"), [SwitchSpec(32, 32), SwitchSpec(4, 4)])
    other.load_state_dict(both.state_dict())
    assert torch.equal(other(x), both(x))


def test_training_all_switches_moves_no_zero() -> None:
    network, x = made(), images(16)
    apply_masks(network, {"3": torch.eye(7, 10, dtype=torch.bool)})
    optimizer = optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    network.train()
    for _ in range(3):
        optimizer.zero_grad()
        for spec in SWITCHES:
            with switched(network, spec.name):
                network(x).square().mean().backward()
        optimizer.step()
    for name, layer in prunable(network).items():
        assert not layer.weight.grad[~masks_of(network)[name]].any()
    plain = extract(network, "w4a4")
    kernels = prunable(plain)["3"].quantized_weight().abs().sum((2, 3)) > 0
    assert torch.equal(kernels, torch.eye(7, 10, dtype=torch.bool))
