"""Networks that filters are taken from: a plain one, a residual one, a depthwise separable one, one with concat."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

import tinygen
from tinygen.compress.masks import prunable
from tinygen.compress.surgery import groups
from tinygen.ir.graph import Graph


def _block(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Plain(nn.Module):
    """Two convolutions with bias, one without, and two dense layers behind a flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.second = _block(8, 12)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(12 * 4 * 4, 16)
        self.dense_relu = nn.ReLU()
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.pool(self.relu(self.norm(self.first(x)))))
        return self.head(self.dense_relu(self.dense(self.flatten(x))))


class ResidualBlock(nn.Module):
    """Two convolutions and what passes by them; a 1x1 convolution passes by where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(inputs, outputs, stride=stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class Residual(nn.Module):
    """A stem, an identity block, one that changes the shape, and another identity block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, 8)
        self.blocks = nn.Sequential(ResidualBlock(8, 8), ResidualBlock(8, 12, stride=2), ResidualBlock(12, 12))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class Separable(nn.Module):
    """Depthwise and pointwise convolutions; one depthwise layer makes two channels of each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, 6)
        self.depthwise = _block(6, 6, groups=6)
        self.pointwise = _block(6, 10, size=1)
        self.doubling = _block(10, 20, stride=2, groups=10)
        self.last = _block(20, 12, size=1)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.doubling(self.pointwise(self.depthwise(self.stem(x)))))
        return self.head(x.mean((2, 3)))


class Concat(nn.Module):
    """Branches side by side, one of them the input of the others; one activation module serves all three."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, 6)[:2]
        self.narrow = _block(6, 4, size=1)[:2]
        self.wide = _block(6, 8)[:2]
        self.relu = nn.ReLU()
        self.joined = _block(18, 8)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = torch.cat([self.relu(self.narrow(x)), x, self.relu(self.wide(x))], dim=1)
        x = self.pool(self.joined(x))
        return self.head(torch.flatten(x, 1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "residual": Residual,
    "separable": Separable,
    "concat": Concat,
}
"""Networks of [N, 1, 8, 8] to ten classes, of a few thousand parameters."""


def network(name: str, seed: int = 0) -> nn.Module:
    """One of NETWORKS in evaluation mode, as training might have left it: batch norms that shift and scale."""
    torch.manual_seed(seed)
    result = NETWORKS[name]()
    for part in result.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
    return result.eval()


def exact_network(name: str, seed: int = 0) -> nn.Module:
    """The same in float64, of numbers of so few bits that no sum is rounded: equal functions are equal bit by bit."""
    result = network(name, seed).double()
    for part in result.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.weight.data = torch.randint(-1, 2, part.weight.shape).double()
            if part.bias is not None:
                part.bias.data = torch.randint(-4, 5, part.bias.shape) / 4.0
                part.bias.data = part.bias.data.double()
        elif isinstance(part, nn.BatchNorm2d):
            part.eps = 0.25
            part.running_mean = torch.randint(-4, 5, part.running_mean.shape) / 4.0
            part.running_mean = part.running_mean.double()
            # The square roots of variance + eps are 1 and 2.
            part.running_var = 0.75 + 3.0 * torch.randint(0, 2, part.running_var.shape).double()
            part.weight.data = 0.5 * torch.randint(1, 3, part.weight.shape).double()
            part.bias.data = 0.25 * torch.randint(-4, 5, part.bias.shape).double()
    return result


def exact_images(count: int = 4, seed: int = 1) -> Tensor:
    """[count, 1, 8, 8] float64, multiples of 1/4 from -1 to 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 5, (count, 1, 8, 8), generator=generator).double() / 4.0


def images(count: int = 4, seed: int = 1) -> Tensor:
    """[count, 1, 8, 8] float32 from 0 to 1."""
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))


@cache
def int8_graph(name: str) -> Graph:
    """network(name) after post-training quantization."""
    return tinygen.export(network(name), images(1), calibration=images(16))


def random_masks(network: nn.Module, share: float = 0.4, seed: int = 2) -> dict[str, Tensor]:
    """Filter masks of every layer that take away about `share`, whatever fits together."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(len(part.weight), generator=generator) >= share for name, part in prunable(network).items()
    }


def grouped_masks(network: nn.Module, example: Tensor, share: float, seed: int = 0) -> dict[str, Tensor]:
    """Masks that take about `share` of what may go, whole groups of filters at a time."""
    generator = torch.Generator().manual_seed(seed)
    masks = {name: torch.ones(len(part.weight), dtype=torch.bool) for name, part in prunable(network).items()}
    for group in groups(network, example):
        if group.prunable:
            gone = torch.rand(len(group.members[0][1]), generator=generator) < share
            for name, index in group.members:
                masks[name][index[gone]] = False
    return masks
