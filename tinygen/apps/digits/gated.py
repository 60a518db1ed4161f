"""Trains gated and static networks on digits.

Data: as in `apps.digits.lowbit`. Network: 3x3 convolutions 1->32 (stride 2), 32->32 and 32->64, each with batch norm
and rectifier, the last two max-pooled, and a dense layer to 10 classes. Gated: each convolution keeps a share of its
channels. Static: each has that share of the channels to begin with (Raju 2022, section 3.4.2). All are int8, train from
scratch for the same number of epochs, and have no other regulariser than the gates' own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from fractions import Fraction

import torch
from torch import Tensor, nn

from tinygen.apps.digits.lowbit import CLASSES, Digits, Shifted, fit
from tinygen.nn import Affine8, GatedConv2d, InputQuant, QuantConv2d, QuantLinear, Symmetric8, gate_penalty

EPOCHS, RATE = 16, 4e-3
_LAYERS = ((1, 32, 2, 1), (32, 32, 1, 1), (32, 64, 1, 0))
"""Inputs, outputs, stride, padding."""


def gated(density: Fraction, seed: int) -> nn.Sequential:
    """Of all channels, a share of which lives for each digit."""
    torch.manual_seed(seed)
    return _network(
        [
            GatedConv2d(inputs, outputs, 3, density=density, stride=stride, padding=padding)
            for inputs, outputs, stride, padding in _LAYERS
        ],
        _LAYERS[-1][1],
    )


def static(width: Fraction, seed: int) -> nn.Sequential:
    """Of a share of the channels."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    inputs = 1
    for _, all_outputs, stride, padding in _LAYERS:
        outputs = math.ceil(width * all_outputs)
        conv = QuantConv2d(inputs, outputs, 3, stride, padding, bias=False, weight_quantizer=Symmetric8())
        layers.append(nn.Sequential(conv, nn.BatchNorm2d(outputs), Affine8(relu=True)))
        inputs = outputs
    return _network(layers, inputs)


def gated_from(start: nn.Module, density: Fraction, seed: int) -> nn.Sequential:
    """`gated`, with weights and norms of a float network of the same layers (`apps.digits.lowbit.DIGITS`).

    Gates begin with the gains of its batch norms.
    """
    network = gated(density, seed)
    for number in range(1, len(_LAYERS) + 1):
        layer = network.get_submodule(f"conv{number}")
        conv, norm = start.get_submodule(f"conv{number}"), start.get_submodule(f"bn{number}")
        assert isinstance(layer, GatedConv2d) and isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        layer.convolution.load_state_dict(conv.state_dict(), strict=False)
        layer.norm.load_state_dict(norm.state_dict(), strict=False)
        layer.head.bias.data.copy_(norm.weight)
        layer.beta.data.copy_(norm.bias)
    network.get_submodule("dense").load_state_dict(start.get_submodule("dense").state_dict(), strict=False)
    return network


def _network(layers: list[nn.Module], channels: int) -> nn.Sequential:
    first, second, third = layers
    dense = QuantLinear(4 * channels, CLASSES, weight_quantizer=Symmetric8())
    parts = (
        ("codes", InputQuant()),
        ("conv1", first),
        ("conv2", second),
        ("pool2", nn.MaxPool2d(2)),
        ("conv3", third),
        ("pool3", nn.MaxPool2d(3, 2)),
        ("flatten", nn.Flatten()),
        ("dense", dense),
    )
    return nn.Sequential(OrderedDict(parts))


def train(network: nn.Module, digits: Digits, seed: int, epochs: int = EPOCHS) -> nn.Module:
    """The network itself, trained with Adam along a cosine, in evaluation mode."""

    def loss(scores: Tensor, labels: Tensor, _: int) -> Tensor:
        return nn.functional.cross_entropy(scores, labels) + gate_penalty(network)

    return fit(network, Shifted(digits, seed), loss, torch.optim.Adam(network.parameters(), RATE), epochs)
