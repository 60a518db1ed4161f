"""Trains one small residual network on digits for suite `pruned`, and gives what its methods need of data and training.

Data: as in `train_digits_lowbit`, of its 4,000 digits to train with every second one; of those 2,000, 200 are held out
to calibrate and to search with.
Network: 3x3 convolutions 1->16 and 16->24, both of stride 2, three residual blocks of two 3x3 convolutions 24->24, max
pooling, and dense layers 216->32 and 32->10: 41,936 weights, 1.73 M multiply-accumulates.

All networks of a seed start from the same trained one and train for the same number of epochs; methods with a penalty
train with it in the first half of them, and prune between the halves. Networks on 2-bit codes start from one that was
converted and trained for as many epochs, with `train_digits_lowbit`'s optimiser and shifted digits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.bench.train_digits_lowbit import CLASSES, FLOAT, REGIMES, Digits, train_on
from tinygen.compress.masking import sparsity
from tinygen.compress.masks import prunable
from tinygen.compress.mint import Connectivity, mint_scores
from tinygen.compress.surgery import Group, groups
from tinygen.compress.training import Shuffled, finetune

BATCH, EVERY = 50, 2
START_EPOCHS, EPOCHS = 8, 4
START_RATE, RATE = 0.01, 0.005
CHANNELS, INNER, HIDDEN = 16, 24, 32
KERNEL_LAYERS_LEFT_WHOLE = ("conv1", "dense1", "dense2")
"""What kernel-level methods do not prune: the layer of one input channel, and dense layers, which have no kernels."""
CONTEXT_GROUPS, PER_LABEL = 8, 20
"""Groups of filters and samples of each class that MINT and SNACS look at."""


class Block(nn.Module):
    """Two convolutions and what passes by them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + x)


class Network(nn.Module):
    """[N, 1, 28, 28] to [N, 10]. `train_on` quantizes the input of `conv1`, and what `relu3` gives the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(CHANNELS, INNER, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(INNER)
        self.relu2 = nn.ReLU()
        self.blocks = nn.Sequential(*(Block(INNER) for _ in range(3)))
        self.pool = nn.MaxPool2d(3, 2)
        self.flatten = nn.Flatten()
        self.dense1 = nn.Linear(9 * INNER, HIDDEN)
        self.relu3 = nn.ReLU()
        self.dense2 = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        x = self.flatten(self.pool(self.blocks(x)))
        return self.dense2(self.relu3(self.dense1(x)))


@dataclass
class Start:
    """What every method of a seed begins with.

    Attributes:
        network: trained, in float; methods copy it.
        images, labels: to train with, [N, 1, 28, 28] and [N].
        held: other images and labels, to calibrate and to search with.
        start_epochs: that the network has trained for.
        epochs: that each method trains for, at least 1.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    held: tuple[Tensor, Tensor]
    seed: int
    start_epochs: int
    epochs: int

    @property
    def example(self) -> Tensor:
        return self.images[:1]

    @property
    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """The held digits in batches."""
        return list(zip(self.held[0].split(BATCH), self.held[1].split(BATCH), strict=True))

    @property
    def training_batches(self) -> list[tuple[Tensor, Tensor]]:
        """As many other digits, in batches."""
        count = len(self.held[1])
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(self.seed))[:count]
        return list(zip(self.images[order].split(BATCH), self.labels[order].split(BATCH), strict=True))

    @cached_property
    def groups(self) -> list[Group]:
        return groups(self.network, self.example)

    @cached_property
    def mint(self) -> dict[str, Connectivity]:
        """MINT's scores, for all ratios."""
        return mint_scores(
            self.network, self.images, self.labels, per_label=PER_LABEL, groups=CONTEXT_GROUPS,
            exclude=KERNEL_LAYERS_LEFT_WHOLE, seed=self.seed,
        )  # fmt: skip

    def copy(self) -> nn.Module:
        return copy.deepcopy(self.network)

    def trained(
        self, network: nn.Module, epochs: int | None = None, *, rate: float = RATE,
        penalty: Callable[[], Tensor] | None = None, after_step: Callable[[nn.Module], None] | None = None,
        parameters: list[dict[str, object]] | None = None,
    ) -> nn.Module:  # fmt: skip
        """The network, trained in place for `epochs`, all of them unless given."""
        finetune(
            network, Shuffled(self.images, self.labels, BATCH, self.seed), self.epochs if epochs is None else epochs,
            rate, weight_decay=1e-4, penalty=penalty, after_step=after_step, parameters=parameters,
        )  # fmt: skip
        return network

    @cached_property
    def low_bit(self) -> nn.Module:
        """The network on 2-bit codes, trained, for methods to copy."""
        return train_on(self.network, REGIMES["w2a2"], self._digits, self.seed, self.epochs)

    def low_bit_trained(self, network: nn.Module) -> nn.Module:
        """A copy of a network on 2-bit codes, trained on for all epochs."""
        return train_on(network, FLOAT, self._digits, self.seed, self.epochs)

    @property
    def _digits(self) -> Digits:
        return Digits(self.images.numpy(), self.labels.numpy())

    @property
    def halves(self) -> tuple[int, int]:
        """Epochs before and after the pruning of methods that train for it."""
        return self.epochs - self.epochs // 2, self.epochs // 2


def train_start(digits: Digits, seed: int, start_epochs: int = START_EPOCHS, epochs: int = EPOCHS) -> Start:
    """Trains the float network that all methods start from.

    Args:
        digits: to train with, every second one; the last of each class, a tenth of them, are held out.
    """
    torch.set_num_threads(1)
    images, labels = (values[::EVERY] for values in digits.tensors())
    held = _held(labels.numpy())
    torch.manual_seed(seed)
    start = Start(Network(), images[~held], labels[~held], (images[held], labels[held]), seed, start_epochs, epochs)
    start.trained(start.network, start_epochs, rate=START_RATE)
    return start


def _held(labels: np.ndarray) -> np.ndarray:
    """Bool [N]."""
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        held[members[-max(1, len(members) // 10) :]] = True
    return held


def live_weights(network: nn.Module) -> int:
    """Weights of convolutions and dense layers that are not zero or masked."""
    shares = sparsity(network).layers
    return sum(round(layer.weight.numel() * (1 - shares[name])) for name, layer in prunable(network).items())
