"""Algorithm 3 and self-distillation: gradients against one backward pass through everything at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.switchable_networks import float_network, images
from tinygen.errors import UnsupportedError
from tinygen.nn.switchable import (
    Distillation,
    SwitchSpec,
    calibrate_switches,
    set_switch,
    switchable,
    switchable_step,
    switched,
    switches_of,
    train_switchable,
)

torch.set_num_threads(1)
FLOAT = SwitchSpec(32, 32)
SPECS = [SwitchSpec(2, 2), FLOAT, SwitchSpec(1, 1, 0.5), SwitchSpec(32, 32, 0.5), SwitchSpec(4, 4)]


def network_of(specs: Sequence[SwitchSpec] = SPECS) -> nn.Module:
    """Switches have batch norms of different gains and shifts: at the same ones the norms' means would all agree, and
    no gradient of a shift would tell whether they are compared."""
    network = switchable(float_network("xnor-order"), specs).double().train()
    generator = torch.Generator().manual_seed(3)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight, part.bias):
                values.data += 0.3 * torch.randn(values.shape, generator=generator).double()
    return network


def batch(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 8, 8, generator=generator).double(), torch.arange(count) % 4


class Still(torch.optim.SGD):
    """Makes no step, so that gradients can be looked at."""

    def step(self, closure: object = None) -> None:
        return None


def gradients_of_a_step(network: nn.Module, distillation: Distillation | None) -> dict[str, Tensor]:
    switchable_step(network, *batch(), Still(network.parameters(), 0.1), distillation)
    return {name: part.grad for name, part in network.named_parameters() if part.grad is not None}


def assert_same(found: dict[str, Tensor], network: nn.Module, loss: Tensor) -> None:
    network.zero_grad()
    loss.backward()
    wanted = {name: part.grad for name, part in network.named_parameters() if part.grad is not None}
    assert found.keys() == wanted.keys()
    # A shift in front of a convolution and another batch norm has no gradient but rounding: only the largest tells.
    rounding = 1e-14 * max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=rounding), name


PLACES = {"filters": ("0", "3", "7"), "norms": ("2.norm", "6.norm", "8")}


def forward(network: nn.Module, spec: SwitchSpec, compared: str = "filters") -> tuple[Tensor, list[Tensor]]:
    """Logits, and what the three convolutions give, or their batch norms."""
    seen: list[Tensor] = []
    parts = [network.get_submodule(path) for path in PLACES[compared]]
    hooks = [part.register_forward_hook(lambda _, __, out: seen.append(out)) for part in parts]
    with switched(network, spec):
        logits = network(batch()[0])
    for hook in hooks:
        hook.remove()
    return logits, seen


def test_gradients_of_all_switches_are_summed() -> None:
    network = network_of()
    reference = copy.deepcopy(network)
    found = gradients_of_a_step(network, None)
    labels = batch()[1]
    loss = sum(functional.cross_entropy(forward(reference, spec)[0], labels) for spec in SPECS)
    assert_same(found, reference, loss)
    assert network[3].switch == SPECS[0], "the switch is what it was"


@pytest.mark.parametrize("distillation", [Distillation(), Distillation(0.7, 0.01, "norms"), Distillation(1.0, 0.0)])
def test_distillation(distillation: Distillation) -> None:
    """The gradient passes through f_r, not through p_r; narrow switches are compared with the first channels."""
    network = network_of()
    reference = copy.deepcopy(network)
    found = gradients_of_a_step(network, distillation)
    logits, taught = forward(reference, FLOAT, distillation.compared)
    loss = functional.cross_entropy(logits, batch()[1])
    target = logits.detach().softmax(1)
    for spec in SPECS:
        if spec == FLOAT:
            continue
        learnt, features = forward(reference, spec, distillation.compared)
        assert len(features) == 3
        divergence = (target * (target.log() - learnt.log_softmax(1))).sum() / 12
        distance = sum((f[:, : g.shape[1]] - g).square().sum() for f, g in zip(taught, features, strict=True)) / 12
        loss = loss + distillation.output * divergence + distillation.features * distance
    assert_same(found, reference, loss)


def test_losses_and_the_step() -> None:
    network = network_of()
    before = network[3].weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    losses = switchable_step(network, *batch(), optimizer, Distillation())
    assert list(losses) == [spec.name for spec in SPECS] and all(loss > 0 for loss in losses.values())
    found = network[3].weight.grad
    assert torch.allclose(network[3].weight, before - 0.01 * found)
    switchable_step(network, *batch(), Still(network.parameters(), 0.1))
    assert not torch.equal(network[3].weight.grad, found), "gradients do not add up over steps"


def test_training_learns_in_every_switch() -> None:
    """Which quadrant is bright, from 64 images; every switch ends far above chance, and its losses have fallen."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(64) % 4
    x = 0.3 * torch.randn(64, 3, 8, 8, generator=generator)
    for i, label in enumerate(labels.tolist()):
        x[i, :, 4 * (label // 2) : 4 * (label // 2) + 4, 4 * (label % 2) : 4 * (label % 2) + 4] += 1
    network = switchable(float_network("xnor-order"), SPECS)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    steps: list[int] = []
    start = train_switchable(network, [(x, labels)] * 2, optimizer, after_step=lambda: steps.append(1))
    end = train_switchable(network, [(x, labels)] * 40, optimizer, distillation=Distillation())
    assert len(steps) == 2 and network.training
    assert end["w32a32"] < start["w32a32"]
    network.eval()
    for spec in SPECS:
        with switched(network, spec):
            right = float((network(x).argmax(1) == labels).float().mean())
        assert right > 0.7, (spec.name, right)


def test_calibration_of_all_switches() -> None:
    network = switchable(float_network("xnor-order"), [SwitchSpec(4, 4), SwitchSpec(2, 2)])
    set_switch(network, "w2a2")
    with pytest.raises(UnsupportedError, match="no batch"):
        calibrate_switches(network, [])
    calibrate_switches(network, iter([images(8), images(8)]))
    assert network[3].switch == SwitchSpec(2, 2) and not network.training
    for spec in switches_of(network):
        with switched(network, spec):
            assert network(images(2)).isfinite().all()


def test_what_cannot_be_trained() -> None:
    network = network_of([SwitchSpec(4, 4), SwitchSpec(32, 4)])
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    with pytest.raises(UnsupportedError, match=r"(?s)without a float switch.*SwitchSpec\(32, 32\)"):
        switchable_step(network, *batch(), optimizer, Distillation())
    with pytest.raises(UnsupportedError, match="'logits' asked for"):
        Distillation(compared="logits")
    with pytest.raises(UnsupportedError, match="no batch to train with"):
        train_switchable(network, [], optimizer)
    plain = float_network("usual")
    with pytest.raises(UnsupportedError, match="no module of it is switchable"):
        train_switchable(plain, [batch()], torch.optim.SGD(plain.parameters(), 0.1))
