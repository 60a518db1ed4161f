"""Small networks of every module of tinygen.nn, trained in float on digits of 8x8 pixels, then calibrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

import tinygen
from tests.nn.test_convert import digits
from tests.support.deciding import conv, head
from tests.support.in_float import float_weights, in_float
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.nn import (
    Affine8,
    CondConv2d,
    GatedConv2d,
    InputQuant,
    MaskedConv2d,
    MixtureOfExperts,
    QuantLinear,
    SkipBlock,
    Symmetric8,
    calibrate,
    early_exits,
    firing_loss,
    masked_layers,
)

TRAINED, SAMPLES = 797, 256


def _body(*parts: nn.Module, channels: int = 16) -> nn.Sequential:
    """`parts` behind a convolution of 8 channels, and a dense layer behind 4x4 of their own."""
    first = (InputQuant(), conv(1, 8, bias=False), nn.BatchNorm2d(8), Affine8(relu=True), nn.MaxPool2d(2))
    dense = QuantLinear(16 * channels, 10, weight_quantizer=Symmetric8())
    return nn.Sequential(*first, *parts, nn.Flatten(), dense)


def _gated(experts: int = 0) -> nn.Module:
    return _body(GatedConv2d(8, 16, 3, density=0.5, padding=1, experts=experts))


def _masked(**options: object) -> nn.Module:
    return _body(MaskedConv2d(8, 16, 3, padding=1, **options))


def _mixed(routing: str) -> nn.Module:
    return _body(CondConv2d(8, 16, 3, padding=1, routing=routing), nn.BatchNorm2d(16), Affine8(relu=True))


def _plain(inputs: int = 8, outputs: int = 16) -> tuple[nn.Module, ...]:
    return conv(inputs, outputs, bias=False), nn.BatchNorm2d(outputs), Affine8(relu=True)


class _Sum(nn.Module):
    """A shortcut around a convolution, and the quantizer of their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.norm, self.quantizer = conv(16, 16, bias=False), nn.BatchNorm2d(16), Affine8(relu=True)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.quantizer(self.norm(self.part(x)) + x)
        return made


def _exits() -> nn.Module:
    stages = [nn.Sequential(InputQuant(), *_plain(1, 8), nn.MaxPool2d(2)), nn.Sequential(*_plain(), *_plain(16, 16))]
    heads = [
        nn.Sequential(nn.Flatten(), QuantLinear(16 * count, 10, weight_quantizer=Symmetric8())) for count in (8, 16)
    ]
    return early_exits(stages, heads, thresholds=[3.0])


def _skipping() -> nn.Module:
    block = nn.Sequential(*_plain(16, 16)[:2])
    return _body(*_plain(), SkipBlock(block, head(16, 1), quantizer=Affine8()))


def _experts(k: int) -> nn.Module:
    experts = [nn.Sequential(*_plain()[:2]) for _ in range(3)]
    return _body(MixtureOfExperts(head(8, 3), experts, quantizer=Affine8(relu=True), k=k))


MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "layers": lambda: _body(*_plain()),
    "sum": lambda: _body(*_plain(), _Sum()),
    "mixed, sigmoid": lambda: _mixed("sigmoid"),
    "mixed, softmax": lambda: _mixed("softmax"),
    "gated": _gated,
    "gated, experts": lambda: _gated(experts=4),
    "masked, mass": lambda: _masked(mass=0.9),
    "masked, density": lambda: _masked(density=0.5),
    "masked, maxima": lambda: _masked(density=0.5, prediction="maxima"),
    "masked, random": lambda: _masked(density=0.5, prediction="random"),
    "exits": _exits,
    "skipped": _skipping,
    "experts, 1": lambda: _experts(1),
    "experts, 2": lambda: _experts(2),
}
"""Every module of tinygen.nn with a range, its weights of 8 bits."""


@cache
def trained(name: str) -> nn.Module:
    """The network in float."""
    torch.manual_seed(0)
    network = in_float(MODULES[name]())
    return fit(network)


def fit(network: nn.Module, epochs: int = 6) -> nn.Module:
    images, labels = digits()
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * 16)
    for _ in range(epochs):
        for batch in torch.randperm(TRAINED).split(50):
            found = network.train()(images[batch])
            outputs = found if isinstance(found, list) else [found]
            loss = sum(nn.functional.cross_entropy(one, labels[batch]) for one in outputs)
            if masked_layers(network):
                loss = loss + 0.1 * firing_loss(network)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def loaded(name: str) -> nn.Module:
    """A new quantized network with the weights of the float one, as a file brings them."""
    network = MODULES[name]()
    wrong = network.load_state_dict(float_weights(trained(name)), strict=False)
    assert not wrong.unexpected_keys
    return network.eval()


def calibrated(name: str) -> nn.Module:
    """`loaded`, with ranges of 256 samples."""
    network = loaded(name)
    calibrate(network, digits()[0][:SAMPLES].split(64))
    return network


def accuracy(network: nn.Module, count: int) -> float:
    """In %, of the last `count` digits, of a module."""
    images, labels = digits()
    with torch.no_grad():
        found = network.eval()(images[-count:]).argmax(1)
    return 100 * float((found == labels[-count:]).double().mean())


def exported_accuracy(network: nn.Module, count: int) -> float:
    """The same, of the exported graph's integer semantics."""
    images, labels = digits()
    graph = tinygen.export(network, images[:1], name="net")
    return 100 * float(np.mean(answers(graph, images[-count:].numpy()) == labels[-count:].numpy()))


def answers(graph: Graph, images: np.ndarray) -> np.ndarray:
    """The class of each image, by the integer semantics."""
    encoding = graph.tensors[graph.inputs[0]].integer
    step, zero = encoding.scale[0], encoding.zero_point[0]
    codes = np.clip(np.floor(images.astype(np.float64) / step + 0.5) + zero, -128, 127).astype(np.int8)
    return np.array([int(np.argmax(evaluate(graph, [row[None].transpose(0, 2, 3, 1)])[0])) for row in codes])
