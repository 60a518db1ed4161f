"""The network: convolutions over time without padding; the stride of the first is a hop of three frames."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinygen.apps.wakeword.phrase import MOST_SECONDS, Phrase
from tinygen.apps.wakeword.scenes import RATES

CHANNELS = 40
HOP = 3
"""Frames per step: one inference in 30 ms."""
FRAME_SECONDS = 0.01
LATE_FRAMES = 25
"""So long after its end the phrase still is in the window as a whole, however slowly it is said."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the network.

    Attributes:
        filters: number of filters of each convolution.
        kernels: sizes of the kernels in time: the first in frames, the others in steps.
    """

    filters: tuple[int, ...] = (48, 48, 48, 48)
    kernels: tuple[int, ...] = (5, 5, 7, 7)


NARROW = Shape((16, 16, 16, 16))
"""About as much computing as a network with an exit has at steps that leave by it."""


def window_frames(phrase: Phrase) -> int:
    """Frames of the network's window: a slow utterance of the phrase, and LATE_FRAMES more."""
    slow = min(phrase.seconds, MOST_SECONDS) * 175 / RATES[0]
    steps = math.ceil((slow / FRAME_SECONDS + LATE_FRAMES - Shape().kernels[0]) / HOP)
    return Shape().kernels[0] + HOP * steps


def float_network(frames: int, shape: Shape | None = None, *, seed: int = 0) -> nn.Sequential:
    """The network with its initial weights.

    Convolutions over time (the kind of network of Choi et al., "Temporal Convolution for Real-time Keyword Spotting on
    Mobile Devices", Interspeech 2019: mel channels are channels) with batch norm and ReLU, then one that has the
    rest of the window in view and gives one logit.

    Args:
        frames: of a window.
        shape: of the network; None for the default.

    Returns:
        From features [N, CHANNELS, T, 1] to logits [N, 1, S, 1], S = (T - frames) / HOP + 1 of them for T frames.
    """
    shape = shape or Shape()
    torch.manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    source, steps = CHANNELS, frames
    for index, (filters, kernel) in enumerate(zip(shape.filters, shape.kernels, strict=True), 1):
        stride = HOP if index == 1 else 1
        layers[f"conv{index}"] = nn.Conv2d(source, filters, (kernel, 1), stride=(stride, 1), bias=False)
        layers[f"bn{index}"] = nn.BatchNorm2d(filters)
        layers[f"relu{index}"] = nn.ReLU()
        source, steps = filters, (steps - kernel) // stride + 1
    layers["whole"] = nn.Conv2d(source, 1, (steps, 1))
    return nn.Sequential(layers)


class TwoClasses(nn.Module):  # type: ignore[misc]
    """The network with two logits: 0 for "not the phrase", and its own; for cross-entropy, which is then the sigmoid's.

    [N, CHANNELS, T, 1] to [N, 2, S].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        return two_classes(self.network(features))


def two_classes(logits: Tensor) -> Tensor:
    """[N, 1, S, 1] to [N, 2, S]: see TwoClasses."""
    return torch.cat([torch.zeros_like(logits[..., 0]), logits[..., 0]], 1)
