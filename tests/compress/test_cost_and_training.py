"""Costs by hand; training that is repeatable and keeps what it must."""

from __future__ import annotations

import pytest

from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import nn  # noqa: E402

from tests.support.prunable_networks import images, network  # noqa: E402
from tinygen.compress.counting import LayerCost, cost  # noqa: E402
from tinygen.compress.masking import apply_masks  # noqa: E402
from tinygen.compress.surgery import slim  # noqa: E402
from tinygen.compress.training import Shuffled, accuracy, finetune  # noqa: E402
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402


def test_costs_by_hand() -> None:
    found = cost(network("separable"), images(3))
    assert found.layers["stem.0"] == LayerCost(6 * 9 * 64, 54)
    assert found.layers["depthwise.0"] == LayerCost(6 * 9 * 64, 54)
    assert found.layers["doubling.0"] == LayerCost(20 * 9 * 16, 180)
    assert found.layers["head"] == LayerCost(120, 130)
    assert found.other_parameters == 2 * (6 + 6 + 10 + 20 + 12)
    assert found.parameters == sum(p.numel() for p in network("separable").parameters())
    assert found.macs == sum(layer.macs for layer in found.layers.values())


def test_layers_that_are_called_twice_cost_twice() -> None:
    layer = nn.Conv2d(2, 2, 1, bias=False)
    assert cost(nn.Sequential(layer, layer), torch.zeros(1, 2, 3, 5)).layers["0"] == LayerCost(2 * 15 * 4, 4)
    assert cost(nn.Linear(4, 3), torch.zeros(2, 5, 4)).layers[""] == LayerCost(5 * 12, 15)


def test_kept_kernels_alone_are_counted() -> None:
    net, x = network("plain"), images(1)
    kernels = torch.zeros(12, 8, dtype=torch.bool)
    kernels[:5, :3] = True
    assert cost(net, x, {"second.0": kernels}).layers["second.0"] == LayerCost(15 * 9 * 16, 135)
    weights = torch.zeros(16, 192, dtype=torch.bool)
    weights[0, :7] = True
    apply_masks(net, {"dense": weights})
    assert cost(net, x).layers["dense"] == LayerCost(7, 7 + 16)
    assert cost(net, x, {"dense": ~weights}).layers["dense"] == LayerCost(16 * 192 - 7, 16 * 192 - 7 + 16)
    with pytest.raises(ModelError, match="for weights"):
        cost(net, x, {"dense": torch.ones(2, 2, dtype=torch.bool)})
    with pytest.raises(ModelError, match="does not take the example"):
        cost(net, torch.zeros(1, 3, 8, 8))


def test_slim_networks_cost_less() -> None:
    net, x = network("plain"), images(1)
    small = cost(slim(net, x, {"first": torch.arange(8) < 4}), x)
    assert small.layers["second.0"].macs * 2 == cost(net, x).layers["second.0"].macs


def toy() -> Shuffled:
    labels = torch.arange(60) % 3
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + labels[:, None, None, None]
    return Shuffled(x, labels, 16, seed=1)


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_training_learns_and_repeats(schedule: str) -> None:
    histories = []
    for _ in range(2):
        net = network("plain")
        histories.append(finetune(net, toy(), 12, 0.02, schedule=schedule))
        assert not net.training
    assert histories[0] == histories[1] and histories[0][-1] < histories[0][0]
    assert accuracy(net, toy()) > 0.8
    before = [p.clone() for p in net.parameters()]
    assert finetune(net, toy(), 0, 0.05) == []
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_rates_fall_as_they_say() -> None:
    rates: dict[str, list[float]] = {}
    for schedule in ("cosine", "step", "constant"):
        weight = nn.Parameter(torch.zeros(1))
        net = nn.Module()
        net.weight = weight
        net.forward = lambda x, weight=weight: x * weight
        steps: list[float] = []
        last = [0.0]

        def watch(_: nn.Module, weight=weight, last=last, steps=steps) -> None:
            steps.append(last[0] - weight.item())
            last[0] = weight.item()

        one = [(torch.ones(1, 1), torch.zeros(1))]
        finetune(net, one, 4, 0.5, momentum=0.0, schedule=schedule, loss=lambda y, _: y.sum(), after_step=watch)
        rates[schedule] = steps
    assert rates["constant"] == pytest.approx([0.5] * 4)
    assert rates["step"] == pytest.approx([0.5, 0.5, 0.05, 0.005], rel=1e-4)
    assert rates["cosine"] == pytest.approx([0.5, 0.4267767, 0.25, 0.0732233], rel=1e-4)


def test_masks_hold_while_training() -> None:
    net = network("plain")
    kernels = torch.rand(12, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    apply_masks(net, {"second.0": kernels})
    finetune(net, toy(), 1, 0.05, weight_decay=1e-3)
    assert not net.second[0].weight[~kernels].any() and net.second[0].weight[kernels].all()
    held = network("plain")

    def hold(trained: nn.Module) -> None:
        trained.first.weight.data[2] = 0.0

    finetune(held, toy(), 1, 0.05, after_step=hold)
    assert not held.first.weight[2].any()


def test_bad_training_is_an_error() -> None:
    net = network("plain")
    with pytest.raises(ModelError, match="gone through only once"):
        finetune(net, iter([]), 1, 0.1)
    with pytest.raises(ModelError, match="no batch of data"):
        finetune(net, [], 1, 0.1)
    with pytest.raises(UnsupportedError, match="schedule 'never'"):
        finetune(net, toy(), 1, 0.1, schedule="never")
    with pytest.raises(ModelError, match="not a number"):
        finetune(net, toy(), 1, 0.1, penalty=lambda: torch.tensor(float("nan")))
    with pytest.raises(ModelError, match="3 inputs and 2 labels"):
        Shuffled(torch.zeros(3, 1), torch.zeros(2), 1, 0)
    with pytest.raises(ModelError, match="no batch of data"):
        accuracy(net, [])
