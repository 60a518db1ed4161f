"""Small float networks of the kinds that people convert: what `tinygen.nn.convert` and the exporter are tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


def block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch norm, ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def pooled(*, relu: bool = True) -> nn.Module:
    """Two blocks, a global pool and a dense layer."""
    layers = [*block(1, 4), *block(4, 6)]
    return nn.Sequential(*(layers if relu else layers[:-1]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


class Residual(nn.Module):
    """Sums in front of a ReLU and behind one, all by functions, as ResNets are often written."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.first, self.first_norm = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.second, self.second_norm = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.shortcut = nn.Sequential()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        y += self.shortcut(x)
        y = functional.relu(y)
        return self.head(functional.avg_pool2d(y, 4).mean((2, 3)))


class Linear(nn.Module):
    """A block whose sums are not rectified (MobileNetV2), of ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*block(1, 4))
        self.expand = nn.Sequential(nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        return self.head(torch.flatten(self.pool(x), 1))


class Joined(nn.Module):
    """Branches side by side, one rectified and one not, then a pool (Inception, DenseNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Sequential(*block(1, 4)), nn.Sequential(*block(1, 5))
        self.third, self.norm, self.relu = nn.Conv2d(9, 3, 1), nn.BatchNorm2d(12), nn.ReLU()
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.first(x), self.second(x)], 1)
        x = torch.cat([x, self.third(x)], 1)
        x = functional.adaptive_avg_pool2d(self.relu(self.norm(x)), 1)
        return self.head(x.view(x.size(0), -1))


class Excited(nn.Module):
    """Squeeze and excitation: a product, which quantized networks do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*block(1, 8))
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x * torch.sigmoid(self.squeeze(x)))


class Functional(nn.Module):
    """LeNet, as tutorials write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.norm1, self.norm2 = nn.BatchNorm2d(4), nn.BatchNorm2d(6)
        self.fc1, self.fc2 = nn.Linear(24, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
        x = functional.max_pool2d(functional.relu(self.norm2(self.conv2(x))), (2, 2))
        x = x.view(-1, 24)
        x = functional.dropout(torch.relu(self.fc1(x)), 0.25, self.training)
        return self.fc2(x)


class Shared(nn.Module):
    """One ReLU, one pool and one convolution for several places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4),
        )
        self.relu, self.pool, self.head = nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.stem(x))))
        x = self.relu(self.conv(x))
        x = self.pool(self.relu(self.conv(x)))
        return self.head(x.flatten(1))


@dataclass(frozen=True)
class FloatNetwork:
    """A network to convert.

    Attributes:
        make: the module, with its initial weights.
        shape: of one input.
        refused: the module that `convert` names, if it has no quantized form.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    refused: str = ""


NETWORKS: Mapping[str, FloatNetwork] = {
    "pool over 12x12": FloatNetwork(pooled, (1, 12, 12)),
    "pool over 4x4": FloatNetwork(pooled, (1, 4, 4)),
    "pool over 28x28": FloatNetwork(pooled, (1, 28, 28)),
    "residual sums": FloatNetwork(Residual, (1, 8, 8)),
    "linear bottleneck": FloatNetwork(Linear, (1, 6, 6)),
    "concatenations": FloatNetwork(Joined, (1, 6, 6)),
    "squeeze and excitation": FloatNetwork(Excited, (1, 6, 6), "Excited (sigmoid)"),
    "one dimension": FloatNetwork(
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)), (2, 8), "Sequential.0"
    ),
    "one dimension, as images": FloatNetwork(
        lambda: nn.Sequential(nn.Conv2d(2, 4, (1, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)), (2, 1, 8)
    ),
    "functions": FloatNetwork(Functional, (1, 14, 14)),
    "shared modules": FloatNetwork(Shared, (1, 12, 12)),
    "batch norm without ReLU": FloatNetwork(
        lambda: nn.Sequential(*block(1, 4)[:2], *block(4, 6)[:2], nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 3)),
        (1, 6, 6),
    ),
    "dropout": FloatNetwork(
        lambda: nn.Sequential(
            *block(1, 4), nn.Dropout2d(0.1), *block(4, 6), nn.AvgPool2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(54, 3)
        ),
        (1, 12, 12),
    ),
    "no pool": FloatNetwork(
        lambda: nn.Sequential(*block(1, 4), *block(4, 6, 2), nn.Flatten(), nn.Linear(54, 3)), (1, 6, 6)
    ),
    "colours to dense layers": FloatNetwork(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.ReLU(), nn.Linear(12, 3)), (3, 4, 4)
    ),
}
