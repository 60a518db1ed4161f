"""Small networks on digits of 14x14 pixels with every way to choose channels.

Data: as in `apps.digits.lowbit`, at half the height and width, every second digit to train with: 2,000.
Network: 3x3 convolutions 1->16 on 14x14, 16->32 on 7x7 and 32->32 on 3x3 pixels, each with batch norm, rectifier and
max pooling, and a dense layer 32->10: 337,280 multiply-accumulates. All is int8.

Each network trains for 2 `EPOCHS`. Those of mask predictors, and what they are compared with, start from a dense
network that has trained for the first half of them (S. Elkerdawy, 2022, section 6.3). Predictors learn at ten times the
rate, as in the thesis.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from fractions import Fraction

import torch
from torch import Tensor, nn

from tinygen.apps.digits.lowbit import BATCH, CLASSES, Digits, Shifted, fit, halved, load_digits
from tinygen.compress.criteria import filter_masks, taylor_gate
from tinygen.compress.surgery import groups, slim
from tinygen.nn import (
    Affine8,
    CondConv2d,
    GatedConv2d,
    InputQuant,
    MaskedConv2d,
    QuantConv2d,
    QuantLinear,
    Symmetric8,
    firing_loss,
    gate_penalty,
    masked_layers,
)

LAYERS = ((1, 16, 14), (16, 32, 7), (32, 32, 3))
"""Inputs, filters, and pixels along a side of the output."""
TAPS, EXPERTS, EPOCHS = 9, 4, 5
RATE, TUNING_RATE, FASTER = 4e-3, 1e-3, 10.0
_SCORED = 400
Layer = Callable[[int, int], nn.Module]


def small_digits() -> tuple[Digits, Digits]:
    """What to train with (2,000) and what to test with (1,000)."""
    train, test = map(halved, load_digits())
    return Digits(train.images[::2], train.labels[::2]), test


def network(layer: Layer, seed: int, share: Fraction = Fraction(1)) -> nn.Sequential:
    """`layer(inputs, filters)` in each place, of a share of the channels."""
    torch.manual_seed(seed)
    parts: OrderedDict[str, nn.Module] = OrderedDict(codes=InputQuant())
    inputs = 1
    for number, (_, filters, _) in enumerate(LAYERS, 1):
        outputs = math.ceil(share * filters)
        parts |= {f"conv{number}": layer(inputs, outputs), f"pool{number}": nn.MaxPool2d(2 if number < 3 else 3)}
        inputs = outputs
    parts |= {"flatten": nn.Flatten(), "dense": QuantLinear(inputs, CLASSES, weight_quantizer=Symmetric8())}
    return nn.Sequential(parts)


def plain(inputs: int, filters: int) -> nn.Module:
    """A layer without gates; its parts are named as those of `MaskedConv2d`."""
    conv = QuantConv2d(inputs, filters, 3, padding=1, bias=False, weight_quantizer=Symmetric8())
    return _block(conv, filters)


def mixed(inputs: int, filters: int) -> nn.Module:
    """A layer whose weights are mixed of those of experts."""
    return _block(CondConv2d(inputs, filters, 3, padding=1, experts=EXPERTS), filters)


def _block(convolution: nn.Module, filters: int) -> nn.Module:
    norm = nn.BatchNorm2d(filters)
    return nn.Sequential(OrderedDict(convolution=convolution, norm=norm, quantizer=Affine8(relu=True)))


def gated(density: Fraction, experts: int = 0, routing: str = "sigmoid") -> Layer:
    return lambda inputs, filters: GatedConv2d(
        inputs, filters, 3, density=density, padding=1, experts=experts, routing=routing
    )


def masked(
    mass: float | None = None, density: Fraction | None = None, *, joint: bool = False, prediction: str = "softmax"
) -> Layer:
    return lambda inputs, filters: MaskedConv2d(
        inputs, filters, 3, mass=mass, density=density, joint=joint, prediction=prediction, padding=1
    )


def from_start(start: nn.Module, layer: Layer, seed: int) -> nn.Sequential:
    """`network` with all that a dense network has learnt."""
    made = network(layer, seed)
    made.load_state_dict(start.state_dict(), strict=False)
    return made


def pruned(start: nn.Module, digits: Digits, share: float, seed: int) -> nn.Module:
    """Without the filters of the least Taylor importance (Molchanov et al. 2017), a share of each layer."""
    images, labels = digits.tensors()
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:_SCORED].split(BATCH)
    scores = taylor_gate(start, images[:1], [(images[part], labels[part]) for part in chosen])
    return slim(start, images[:1], filter_masks(scores, share, groups=groups(start, images[:1])))


def train(made: nn.Module, digits: Digits, seed: int, epochs: int, rate: float = RATE) -> nn.Module:
    """The network itself, trained with Adam along a cosine, in evaluation mode."""
    faster = [value for layer in masked_layers(made).values() for value in layer.predictor.parameters()]
    others = _without(made.parameters(), faster)
    predicts = bool(faster) and any(layer.masking for layer in masked_layers(made).values())

    def loss(scores: Tensor, labels: Tensor, _: int) -> Tensor:
        found = nn.functional.cross_entropy(scores, labels) + gate_penalty(made)
        return found + firing_loss(made) if predicts else found

    optimizer = torch.optim.Adam([{"params": others, "lr": rate}, {"params": faster, "lr": FASTER * rate}])
    return fit(made, Shifted(digits, seed), loss, optimizer, epochs)


def _without(values: Iterable[nn.Parameter], some: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    left_out = {id(value) for value in some}
    return [value for value in values if id(value) not in left_out]


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Behind a Gaussian of 5x5 pixels."""
    if not sigma:
        return images
    line = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma**2))
    line = line / line.sum()
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    return nn.functional.conv2d(padded, torch.outer(line, line)[None, None])
