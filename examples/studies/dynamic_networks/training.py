"""Trains small residual networks on digits for suite `branches`: static ones, and such that decide.

Data: every second one of `apps.digits.lowbit`'s 4,000 digits to train with, at half the height and width: 14x14.
Network: a 3x3 convolution 1->16 (stride 2), then up to two residual blocks of two 3x3 convolutions 16->16 at 7x7
pixels, max pooling, and a dense layer 144->10; int8 throughout, trained quantized from the start.

- `static` has the first blocks and always runs. With 16 channels it is what an exit behind its last block would be
  alone; with fewer it fills the gaps in cost between those.
- `exits` has a head in front of the blocks and behind each, and leaves by the margin between the two largest logits.
- `skipping` has a gate at each block: X. Wang et al., "SkipNet", ECCV 2018; straight-through gates, and a loss that
  counts the blocks that run.

- `experts` has one block, of which there are four: a router takes one (W. Fedus et al., "Switch Transformers", 2022) or
  two of them, and learns to use them alike.

All are trained alike: the same digits in the same order, epochs, optimiser (AdamW) and rate (a cosine).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.apps.digits.lowbit import CLASSES, Digits, Shifted, halved
from tinygen.compress.distill import (
    Batch,
    Epoch,
    Objective,
    QueryEfficient,
    Schedule,
    SelfDistillation,
    TaskLoss,
    Teacher,
    train_distilled,
)
from tinygen.nn import (
    Affine8,
    InputQuant,
    MixtureOfExperts,
    QuantConv2d,
    QuantLinear,
    SkipBlock,
    Symmetric8,
    early_exits,
    every_exit,
    exits_of,
    gate_cost,
    load_balance,
    mixtures,
    skip_blocks,
)
from tinygen.nn.decisions.exits import LEAVE
from tinygen.nn.decisions.skip import RUN as _RUN

CHANNELS, BLOCKS, PIXELS = 16, 2, 9
"""Of every convolution; blocks of the whole network; pixels behind the pooling."""
EVERY, EPOCHS, RATE = 2, 8, 4e-3
GATES_WEIGHT = 0.3
"""Of the share of blocks that run, beside the cross-entropy."""
BALANCE_WEIGHT = 0.01
EXPERTS, TEACHER_CHANNELS = 4, 32
RUN, STAYS = _RUN, 1 - LEAVE
"""Branches: of a block that runs, of a digit that does not leave."""


def training_digits(digits: Digits) -> Digits:
    """Those that networks are trained with."""
    small = halved(digits)
    return Digits(small.images[::EVERY], small.labels[::EVERY])


def _conv(inputs: int, outputs: int, stride: int = 1) -> QuantConv2d:
    return QuantConv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, weight_quantizer=Symmetric8())


def _relu() -> Affine8:
    return Affine8(relu=True)


class Residual(nn.Module):
    """Two convolutions and what passes by them; what comes out is quantized outside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = _conv(channels, channels), nn.BatchNorm2d(channels), _relu()
        self.conv2, self.bn2 = _conv(channels, channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + x


def _stem(channels: int) -> list[nn.Module]:
    return [InputQuant(), _conv(1, channels, stride=2), nn.BatchNorm2d(channels), _relu()]


def _head(channels: int) -> nn.Sequential:
    dense = QuantLinear(PIXELS * channels, CLASSES, weight_quantizer=Symmetric8())
    return nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), dense)


def _block(channels: int) -> nn.Sequential:
    return nn.Sequential(Residual(channels), _relu())


def static(blocks: int, channels: int = CHANNELS) -> nn.Module:
    """The network of so many blocks."""
    return nn.Sequential(*_stem(channels), *(_block(channels) for _ in range(blocks)), _head(channels))


def exits() -> nn.Module:
    """All blocks, a head in front of them and behind each."""
    stages = [nn.Sequential(*_stem(CHANNELS)), *(_block(CHANNELS) for _ in range(BLOCKS))]
    return early_exits(stages, [_head(CHANNELS) for _ in stages])


def skipping() -> nn.Module:
    """All blocks, a gate at each: the averages of its channels, and a dense layer."""
    stem = _stem(CHANNELS)
    codes = stem[-1]
    assert isinstance(codes, Affine8)
    # One quantizer for all of them: a block that is skipped hands its codes on.
    blocks = [SkipBlock(Residual(CHANNELS), _gate(), quantizer=codes) for _ in range(BLOCKS)]
    return nn.Sequential(*stem, *blocks, _head(CHANNELS))


def _gate() -> nn.Sequential:
    dense = QuantLinear(CHANNELS, 1, weight_quantizer=Symmetric8())
    nn.init.ones_(dense.bias)  # open at first: blocks that never run learn nothing
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense)


def experts(k: int) -> nn.Module:
    """A block of which there are `EXPERTS`; every input takes k of them, which are summed."""
    dense = QuantLinear(CHANNELS, EXPERTS, weight_quantizer=Symmetric8())
    router = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense)
    blocks = [Residual(CHANNELS) for _ in range(EXPERTS)]
    mixture = MixtureOfExperts(router, blocks, quantizer=_relu(), k=k, weights="all" if k == 1 else "chosen")
    return nn.Sequential(*_stem(CHANNELS), mixture, _head(CHANNELS))


class BalanceLoss(Objective):
    """`load_balance`, times a weight: 0.01 in the paper."""

    def __init__(self, network: nn.Module, weight: float = BALANCE_WEIGHT) -> None:
        self.network, self.weight = network, weight

    def __call__(self, batch: Batch) -> Tensor:
        return self.weight * load_balance(self.network)


class GateLoss(Objective):
    """The share of blocks that run, times a weight."""

    def __init__(self, network: nn.Module, weight: float = GATES_WEIGHT) -> None:
        self.network, self.weight = network, weight

    def __call__(self, batch: Batch) -> Tensor:
        return self.weight * gate_cost(self.network)


def part_names(network: nn.Module) -> list[str]:
    """What an input may go through or not, in order; the columns of `Answers.ran`."""
    behind = [f"behind exit {number}" for number, _ in enumerate(exits_of(network), 1)]
    return behind or [f"block {number}" for number, _ in enumerate(skip_blocks(network), 1)]


@dataclass(frozen=True)
class Answers:
    """What a network says in evaluation, and how.

    Attributes:
        classes: [N].
        ran: bool [N, parts]: which of its parts ran; see `part_names`.
    """

    classes: np.ndarray
    ran: np.ndarray


@torch.no_grad()
def answers(network: nn.Module, digits: Digits) -> Answers:
    """With the thresholds that it has now."""
    network.eval()
    classes, ran = [], []
    for images in digits.tensors()[0].split(250):
        classes.append(network(images).argmax(1).numpy())
        ran.append(_ran(network, len(images)))
    return Answers(np.concatenate(classes), np.concatenate(ran))


def _ran(network: nn.Module, count: int) -> np.ndarray:
    """bool [count, parts], of the last batch."""
    blocks = [block.index == RUN for block in skip_blocks(network) if block.index is not None]
    leaving = exits_of(network)
    ran = np.zeros((count, len(leaving) + len(blocks)), bool)
    reached = np.arange(count)
    for number, one in enumerate(leaving):
        if not len(reached):
            break  # its index is an earlier batch's
        assert one.index is not None
        reached = reached[(one.index == STAYS).numpy()]
        ran[reached, number] = True
    for number, opened in enumerate(blocks):
        ran[:, len(leaving) + number] = opened.numpy()
    return ran


@torch.no_grad()
def exit_classes(network: nn.Module, digits: Digits) -> np.ndarray:
    """[exits, N]: what each exit would say; a network without exits has one."""
    network.eval()
    with every_exit(network):
        given = [network(images) for images in digits.tensors()[0].split(250)]
    logits = [list(one) if isinstance(one, list) else [one] for one in given]
    return np.array([np.concatenate([one[at].argmax(1).numpy() for one in logits]) for at in range(len(logits[0]))])


def set_thresholds(network: nn.Module, value: float) -> None:
    """Of every exit or gate."""
    for part in (*exits_of(network), *skip_blocks(network)):
        part.threshold.fill_(value)


@torch.no_grad()
def settle(network: nn.Module, digits: Digits) -> None:
    """Thresholds such that about half of the digits that reach a decision take each of its branches."""
    network.eval()
    images = digits.tensors()[0]
    for block in skip_blocks(network):
        network(images)
        assert block.probability is not None
        block.threshold.add_(torch.logit(block.probability.double()).median())
    if exits_of(network):
        with every_exit(network):
            logits = network(images)
        reached = torch.ones(len(images), dtype=torch.bool)
        for one, found in zip(exits_of(network), logits, strict=False):
            one.threshold.fill_(float(one.confidence(found)[reached].median()))
            reached &= ~one.leaves(found)


def part_branch(network: nn.Module) -> int:
    """The branch that runs a part, of every operator of a network."""
    return STAYS if exits_of(network) else RUN


def input_codes(network: nn.Module, digits: Digits) -> np.ndarray:
    """Codes of digits as the network's graph takes them, int8 [N, H, W, 1]."""
    entry = next(part for part in network.modules() if isinstance(part, InputQuant))
    return entry.codes(digits.tensors()[0])[0].transpose(0, 2, 3, 1)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """With the initial weights of a seed."""
    torch.manual_seed(seed)
    return make()


def teacher(digits: Digits, seed: int, epochs: int = EPOCHS) -> Teacher:
    """A network of two blocks with twice the channels, trained on labels."""
    network = seeded(lambda: static(BLOCKS, TEACHER_CHANNELS), seed)
    train(network, digits, seed, epochs=epochs)
    return Teacher(network)


def objectives_of(network: nn.Module, asked: Teacher | None = None, *, everything: bool = False) -> list[Objective]:
    """(7.4) of the thesis, as far as it applies to a network: exits teach each other, gates cost what they open."""
    objectives: list[Objective] = [TaskLoss()]
    objectives += [SelfDistillation()] if exits_of(network) else []
    objectives += [GateLoss(network)] if skip_blocks(network) else []
    objectives += [BalanceLoss(network)] if mixtures(network) else []
    objectives += [QueryEfficient(asked, everything=everything)] if asked is not None else []
    return objectives


def train(
    network: nn.Module, digits: Digits, seed: int, objectives: Sequence[Objective] = (TaskLoss(),), epochs: int = EPOCHS
) -> list[Epoch]:
    """In place.

    Args:
        digits: as `training_digits` gives them.
    """
    torch.set_num_threads(1)
    return train_distilled(network, Shifted(digits, seed), objectives, Schedule(epochs, RATE))
