"""What filters give out: order of execution, ends of activations, residual networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tinygen.compress.masking import apply_masks, while_masked
from tinygen.compress.observe import Observer, per_class
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn import calibrate, convert

torch.set_num_threads(1)


class Residual(nn.Module):
    """Registered in another order than it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8 * 9, 3)
        self.third = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(4, 8, 3, padding=1, stride=2)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.short = nn.Conv2d(4, 8, 1, stride=2)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norms[0](self.first(x)))
        y = functional.relu(self.norms[1](self.second(x)))
        y = functional.relu(self.norms[2](self.third(y)) + self.short(x))
        return self.head(torch.flatten(y, 1))


def network() -> nn.Module:
    torch.manual_seed(0)
    net = Residual()
    net.train()(images())
    return net


def images(count: int = 7) -> Tensor:
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_residual_network() -> None:
    net, x = network(), images()
    observer = Observer(net, x)
    assert net.training, "modes are put back"
    net.eval()
    assert observer.layers == ("first", "second", "third", "short", "head")
    a = torch.relu(net.norms[0](net.first(x)))
    b = torch.relu(net.norms[1](net.second(a)))
    c = net.norms[2](net.third(b))  # the addition ends it
    d = torch.relu(c + net.short(a))
    expected = {
        "first": (x, a),
        "second": (a, b),
        "third": (b, c),
        "short": (a, net.short(a)),
        "head": (d.flatten(1)[..., None, None], net.head(d.flatten(1))[..., None, None]),
    }
    for name, (inputs, outputs) in expected.items():
        seen = observer.observed(name)
        torch.testing.assert_close(seen.inputs, inputs.mean((2, 3)))
        torch.testing.assert_close(seen.outputs, outputs.mean((2, 3)))
    assert observer.readers("first") == ["second", "short"]
    assert observer.readers("third") == observer.readers("short") == ["head"]
    assert observer.readers("head") == []


@torch.no_grad()
def test_outputs_follow_masks() -> None:
    net, x = network().eval(), images()
    observer = Observer(net, x)
    before = observer.outputs("third")
    kernels = torch.rand(8, 8, generator=torch.Generator().manual_seed(2)) < 0.5
    with while_masked(net.third, kernels):
        inside = observer.outputs("third")
    assert torch.equal(observer.outputs("third"), before)
    apply_masks(net, {"third": kernels})
    assert torch.equal(observer.outputs("third"), inside) and not torch.equal(inside, before)
    smaller = kernels & torch.eye(8, dtype=torch.bool)
    with while_masked(net.third, smaller):
        both = observer.outputs("third")
    apply_masks(net, {"third": smaller})
    assert torch.equal(observer.outputs("third"), both)


def test_quantized_networks() -> None:
    net = convert(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3)), "w4a4")
    net.train()(images())
    calibrate(net, [images()])
    net.eval()
    observer = Observer(net, images())
    activations = net[2](net[1](net[0](images())))
    torch.testing.assert_close(observer.observed("3").inputs, activations.mean((2, 3)))
    torch.testing.assert_close(observer.observed("0").outputs, activations.mean((2, 3)))
    before = net[3].weight_mask
    with while_masked(net[3], torch.zeros(3, 4, dtype=torch.bool)):
        gone = observer.outputs("3")
    torch.testing.assert_close(gone, net[3].bias.expand(7, 3))
    assert net[3].weight_mask is before is None


def test_samples_per_class() -> None:
    labels = torch.tensor([0, 1] * 10 + [2])
    found = per_class(labels, 4, seed=3)
    assert torch.bincount(labels[found]).tolist() == [4, 4, 1] and len(set(found.tolist())) == 9
    assert torch.equal(found, per_class(labels, 4, seed=3)) and not torch.equal(found, per_class(labels, 4, seed=4))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else x


class Twice(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x))


def test_bad_input() -> None:
    with pytest.raises(UnsupportedError, match=r"Branching: the network cannot be traced .*\nWrite forward"):
        Observer(Branching(), torch.ones(2, 3))
    with pytest.raises(UnsupportedError, match="Twice: a layer is used more than once"):
        Observer(Twice(), torch.ones(2, 3))
    with pytest.raises(ModelError, match="no images to observe it with"):
        Observer(network(), images(0))
