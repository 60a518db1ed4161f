"""What the other examples share: a thousand digits, a float network, a training loop."""

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.demo import load_test_digits


def load(train: int = 800) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images [N, 1, 28, 28] from 0 to 1 and labels: those to train on, and those to test on."""
    codes, labels = load_test_digits()
    x = torch.from_numpy((codes.astype(np.float32) + 128) / 255).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(labels.astype(np.int64))
    return (x[:train], y[:train]), (x[train:], y[train:])


def float_network(filters: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, filters, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.Conv2d(filters, 2 * filters, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * filters),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(98 * filters, 10),
    )


def train(network: nn.Module, x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    return network.eval()
