"""Trains one switchable network (SP-Net) on digits, and each of its switches as a network of its own, to compare.

Data: as in `apps.digits.lowbit`. Network: its network in XNOR-Net's order, since activations go down to 1 bit: 3x3
convolutions 1->32 (stride 2), 32->32 and 32->64, each followed by ReLU, max pooling (the last two) and batch norm,
and a dense layer 256->10: 30,506 weights, of which 27,648 are the switches', the others int8.

All switches start from the float network of the same seed, trained for the same number of epochs. Independent networks
do as well; those of half width start from a float network of half the channels, which was trained as such.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain, repeat

import torch
from torch import nn

from tinygen.apps.digits.lowbit import CLASSES, Digits, Shifted
from tinygen.nn.switchable import Distillation, SwitchSpec, extract, switchable, train_switchable

FLOAT = SwitchSpec(32, 32)
SWITCHES = tuple(SwitchSpec(bits, bits, width) for width in (1.0, 0.5) for bits in (8, 4, 2, 1))
"""What the board can be switched to; the float switch comes on top in training."""
START_EPOCHS, EPOCHS = 12, 8
START_RATE, RATE = 4e-3, 3e-3
DISTILLATION = Distillation(compared="norms")
"""The thesis' coefficients. Between what float and 1-bit filters give, ||f_r - f_q||^2 is 4e6 here, and 1e-7 of it more
than the divergence, at the cost of the 1-bit switches; behind batch norm it is 300 to 1,000, 1e-7 of which is nothing.
"""
CHANNELS = (32, 32, 64)


def float_network(seed: int, width: float = 1.0) -> nn.Sequential:
    """The network with its initial weights, of that part of the channels."""
    torch.manual_seed(seed)
    first, second, third = (int(width * count) for count in CHANNELS)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, first, 3, stride=2, padding=1, bias=False),
            relu1=nn.ReLU(),
            bn1=nn.BatchNorm2d(first),
            conv2=nn.Conv2d(first, second, 3, padding=1, bias=False),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            bn2=nn.BatchNorm2d(second),
            conv3=nn.Conv2d(second, third, 3, bias=False),
            relu3=nn.ReLU(),
            pool3=nn.MaxPool2d(3, 2),
            bn3=nn.BatchNorm2d(third),
            flatten=nn.Flatten(),
            dense=nn.Linear(4 * third, CLASSES),
        )
    )


def train_start(digits: Digits, seed: int, width: float = 1.0, epochs: int = START_EPOCHS) -> nn.Module:
    """The float network."""
    network = switchable(float_network(seed, width), [FLOAT])  # which computes just that
    return extract(_fit(network, digits, seed, epochs, START_RATE, None), FLOAT)


def train_switches(
    start: nn.Module,
    switches: Sequence[SwitchSpec],
    digits: Digits,
    seed: int,
    *,
    distillation: Distillation | None = None,
    epochs: int = EPOCHS,
) -> nn.Module:
    """A float network made switchable and trained on; the network itself stays as it is."""
    return _fit(switchable(start, switches), digits, seed, epochs, RATE, distillation)


def _fit(
    network: nn.Module, digits: Digits, seed: int, epochs: int, rate: float, distillation: Distillation | None
) -> nn.Module:
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    data = Shifted(digits, seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * data.steps)
    batches = chain.from_iterable(repeat(data, epochs))
    train_switchable(network, batches, optimizer, distillation=distillation, after_step=schedule.step)
    return network.eval()
