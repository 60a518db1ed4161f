"""Float networks to make switchable: both orders of layers, and every way in which channels go together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

CLASSES = 4


def usual() -> nn.Module:
    """Convolution, batch norm, ReLU; a dense layer in the middle; image 3x8x8."""
    return nn.Sequential(
        nn.Conv2d(3, 10, 3, padding=1, bias=False),
        nn.BatchNorm2d(10),
        nn.ReLU(),
        nn.Conv2d(10, 7, 3),
        nn.BatchNorm2d(7),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(63, 9, bias=False),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(9, CLASSES),
    )


def xnor_order() -> nn.Module:
    """Convolution, ReLU, batch norm, with pools in between; image 3x8x8."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 6, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 12, 3, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, CLASSES),
    )


class Residual(nn.Module):
    """Two sums: of two convolutions, and of a third with the first sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm, self.stem_relu = nn.Conv2d(3, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU()
        self.left, self.left_norm = nn.Conv2d(7, 7, 3, padding=1, bias=False), nn.BatchNorm2d(7)
        self.relu = nn.ReLU()
        self.right, self.right_norm = nn.Conv2d(7, 7, 1, bias=False), nn.BatchNorm2d(7)
        self.out_relu, self.pool, self.dense = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_relu(self.stem_norm(self.stem(x)))
        x = self.relu(x + self.left_norm(self.left(x)))
        x = self.out_relu(self.right_norm(self.right(x)) + x)
        return self.dense(torch.flatten(self.pool(x), 1))


class SideBySide(nn.Module):
    """Two branches concatenated, and what reads both: a convolution, or a dense layer, the image flattened."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.stem, self.stem_norm, self.stem_relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.small, self.large = nn.Conv2d(4, 3, 1, bias=False), nn.Conv2d(4, 5, 3, padding=1, bias=False)
        self.small_norm, self.large_norm = nn.BatchNorm2d(3), nn.BatchNorm2d(5)
        self.relu = nn.ReLU()
        self.inner, self.inner_norm, self.inner_relu = nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU()
        self.pool, self.dense = nn.MaxPool2d(2), nn.Linear(8 * 16 if flat else 6 * 9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_relu(self.stem_norm(self.stem(x)))
        small, large = self.relu(self.small_norm(self.small(x))), self.relu(self.large_norm(self.large(x)))
        both = torch.cat((small, large), 1)
        last = both if self.flat else self.inner_relu(self.inner_norm(self.inner(both)))
        return self.dense(self.pool(last).flatten(1))


def separable() -> nn.Module:
    """Depthwise and pointwise convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.Conv2d(6, 9, 1, bias=False),
        nn.BatchNorm2d(9),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(9, CLASSES),
    )


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "usual": usual,
    "xnor-order": xnor_order,
    "residual": Residual,
    "side-by-side": lambda: SideBySide(False),
    "flattened": lambda: SideBySide(True),
    "separable": separable,
}


def float_network(name: str, seed: int = 0) -> nn.Module:
    """With statistics and parameters of batch norm as training gives them (some gammas negative); in evaluation."""
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(images(16))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.copy_(1.0 + 0.8 * torch.randn(module.weight.shape))
                module.bias.copy_(0.3 * torch.randn(module.bias.shape))
    return network.eval()


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 8, 8)
