"""Trains one small residual network on digits for suite `pruned`, and gives what its methods need of data and training.

Data: as in `apps.digits.lowbit`, at half the height and width: 14x14. Of its 4,000 digits to train with every second
one; of those 2,000, 200 are held out to calibrate and to search with. Criteria that estimate information look at 200 of
each class among the 3,800 that are not held out.
Network: 3x3 convolutions 1->16 and 16->24, both of stride 2, three residual blocks of two 3x3 convolutions 24->24, max
pooling, and dense layers 96->32 and 32->10: 38,096 weights, 0.57 M multiply-accumulates.

All networks of a seed start from the same trained one and train for the same number of epochs: 16, as with 4 accuracy
tells how fast a network recovers. Whether more than 16 would gain was not measured. Methods with a penalty train with
it in the first half of them, and prune between the halves. Networks on 2-bit codes start from one that was converted
and trained for half as many epochs, with `apps.digits.lowbit`'s optimiser and shifted digits, and train for half as
many again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import TypeAlias

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from tinygen.apps.digits.lowbit import CLASSES, FLOAT, REGIMES, Digits, train_on
from tinygen.compress.masking import sparsity
from tinygen.compress.masks import prunable
from tinygen.compress.mint import Connectivity
from tinygen.compress.surgery import Group, groups
from tinygen.compress.training import Shuffled, finetune

BATCH, EVERY = 100, 2
START_EPOCHS, EPOCHS = 8, 16
START_RATE, RATE = 0.02, 0.01
CHANNELS, INNER, PIXELS, HIDDEN = 16, 24, 4, 32
"""Channels behind the first layer and behind the others; pixels behind the pooling; outputs of the first dense one."""
KERNEL_LAYERS_LEFT_WHOLE = ("conv1", "dense1", "dense2")
"""What kernel-level methods do not prune: the layer of one input channel, and dense layers, which have no kernels."""
CONTEXT_GROUPS, PER_LABEL = 8, 200
"""Groups of filters that make blocks (3x3 kernels; 3x2 in `conv2`), and samples of each class that MINT and SNACS look
at: the thesis has 200 to 650, and half of those that there are tells how far scores repeat."""


BlockScores: TypeAlias = "Callable[[nn.Module, Tensor, Tensor, int], dict[str, Connectivity]]"
"""scores(network, images, labels, seed): of the blocks of every layer."""


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
    """[N, 1, 14, 14] to [N, 10]. `train_on` quantizes the input of `conv1`, and what `relu3` gives the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(CHANNELS, INNER, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(INNER)
        self.relu2 = nn.ReLU()
        self.blocks = nn.Sequential(*(Block(INNER) for _ in range(3)))
        self.pool = nn.MaxPool2d(2, 2)
        self.flatten = nn.Flatten()
        self.dense1 = nn.Linear(PIXELS * INNER, HIDDEN)
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
        images, labels: to train with, [N, 1, 14, 14] and [N].
        held: other images and labels, to calibrate and to search with.
        samples: images and labels for estimators, those to train with and more, none of those held.
        start_epochs: that the network has trained for.
        epochs: that each method trains for, at least 1.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    held: tuple[Tensor, Tensor]
    samples: tuple[Tensor, Tensor]
    seed: int
    start_epochs: int
    epochs: int
    _connections: dict[BlockScores, dict[str, Connectivity]] = field(default_factory=dict)

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

    def connections(self, scores: BlockScores) -> dict[str, Connectivity]:
        """Scores of blocks, computed once for all ratios."""
        if scores not in self._connections:
            self._connections[scores] = scores(self.network, *self.samples, self.seed)
        return self._connections[scores]

    def repeatability(self, scores: BlockScores) -> float:
        """The rank correlation of the scores from one half of the samples and from the other; mean over the layers."""
        images, labels = self.samples
        first, second = (scores(self.network, images[at::2], labels[at::2], self.seed + at) for at in (0, 1))
        return fmean(float(spearmanr(first[name].scores.ravel(), second[name].scores.ravel())[0]) for name in first)

    def copy(self) -> nn.Module:
        return copy.deepcopy(self.network)

    def trained(
        self,
        network: nn.Module,
        epochs: int | None = None,
        *,
        rate: float = RATE,
        penalty: Callable[[], Tensor] | None = None,
        after_step: Callable[[nn.Module], None] | None = None,
        parameters: list[dict[str, object]] | None = None,
    ) -> nn.Module:
        """The network, trained in place for `epochs`, all of them unless given."""
        finetune(
            network,
            Shuffled(self.images, self.labels, BATCH, self.seed),
            self.epochs if epochs is None else epochs,
            rate,
            weight_decay=1e-4,
            penalty=penalty,
            after_step=after_step,
            parameters=parameters,
        )
        return network

    @cached_property
    def low_bit(self) -> nn.Module:
        """The network on 2-bit codes, trained, for methods to copy."""
        return train_on(self.network, REGIMES["w2a2"], self._digits, self.seed, self.halves[0])

    def low_bit_trained(self, network: nn.Module, epochs: int | None = None) -> nn.Module:
        """A copy of a network on 2-bit codes, trained on for half of the epochs unless given."""
        return train_on(network, FLOAT, self._digits, self.seed, self.halves[0] if epochs is None else epochs)

    def low_bit_tuned(self, network: nn.Module) -> None:
        """A network on 2-bit codes, trained in place for one epoch."""
        network.load_state_dict(self.low_bit_trained(network, 1).state_dict())

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
        digits: `halved`, to train with, every second one; the last of each class, a tenth of them, are held out.
    """
    torch.set_num_threads(1)
    images, labels = (values[::EVERY] for values in digits.tensors())
    held = _held(labels.numpy())
    torch.manual_seed(seed)
    more, of_more = (values[np.arange(len(values)) % EVERY > 0] for values in digits.tensors())
    samples = (torch.cat((images[~held], more)), torch.cat((labels[~held], of_more)))
    start = Start(
        Network(), images[~held], labels[~held], (images[held], labels[held]), samples, seed, start_epochs, epochs
    )
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
