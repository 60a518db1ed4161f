"""Networks of tinygen.nn's layers with parameters that a trained network could have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.differential import Board, compare_code
from tests.support.torch_oracle import Compared
from tinygen.ir.interpreter import evaluate
from tinygen.nn import (
    APSQ,
    BWN,
    ActivationQuantizer,
    Affine8,
    BinaryConnect,
    CodebookQuant,
    InputQuant,
    LogQuant,
    LogQuantActivation,
    QuantConv2d,
    QuantLinear,
    ReLUQuant,
    Sign,
    Symmetric8,
    TanhQuant,
    TanhQuantActivation,
    Ternary,
    WeightQuantizer,
    WidestLogits,
    XNORNet,
    calibrate,
)

WEIGHTS: Mapping[str, Callable[[], WeightQuantizer]] = {
    "int8": Symmetric8,
    "tanh1": lambda: TanhQuant(1),
    "tanh2": lambda: TanhQuant(2),
    "tanh5": lambda: TanhQuant(5),
    "tanh8": lambda: TanhQuant(8),
    "connect": BinaryConnect,
    "bwn-channel": BWN,
    "bwn-layer": lambda: BWN("layer"),
    "xnor": XNORNet,
    "ternary": Ternary,
    "ternary-layer": lambda: Ternary("layer"),
    "log": lambda: LogQuant(3, integer_exponents=True),
    "log-sqrt2": lambda: LogQuant(2, "sqrt2", integer_exponents=True),
    "log-thesis": lambda: LogQuant(3),
    "codebook4": lambda: CodebookQuant(2),
    "codebook64": lambda: CodebookQuant(6),
    "apsq": lambda: APSQ(1, scale_bits=8),
    "apsq-real": lambda: APSQ(1, scaling="channel"),
    "apsq2": lambda: APSQ(2, scale_bits=6),
}
"""Every weight quantizer."""

ACTIVATIONS: Mapping[str, Callable[[], ActivationQuantizer]] = {
    "int8": Affine8,
    "int8-relu": lambda: Affine8(relu=True),
    "int8-relu6": lambda: Affine8(relu=True, limit=1.5),
    "int8-widest": WidestLogits,
    "relu2": lambda: ReLUQuant(2),
    "relu3": lambda: ReLUQuant(3, maximum=2.5),
    "relu8": lambda: ReLUQuant(8, maximum=3.0),
    "tanh1": lambda: TanhQuantActivation(1),
    "tanh2": lambda: TanhQuantActivation(2),
    "tanh4": lambda: TanhQuantActivation(4),
    "tanh8": lambda: TanhQuantActivation(8),
    "sign": Sign,
    "log": lambda: LogQuantActivation(3, integer_exponents=True),
    "log-two-sided": lambda: LogQuantActivation(2, two_sided=True, integer_exponents=True),
    "log-sqrt2": lambda: LogQuantActivation(3, "sqrt2", integer_exponents=True),
    "log-thesis": lambda: LogQuantActivation(3, two_sided=True),
}
"""Every activation quantizer."""


def like_trained(network: nn.Module, images: Tensor, seed: int = 0) -> nn.Module:
    """Random batch norms (some gammas negative, one zero) and biases; ranges from the images; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: Tensor, spread: float = 1.0) -> Tensor:
        return spread * torch.randn(like.shape, generator=generator)

    network.train()
    with torch.no_grad():
        network(images)  # codebooks, and the statistics of batch norm
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats and module.affine:
                module.weight.copy_(normal(module.weight))
                if len(module.weight) > 1:
                    module.weight[0] = 0.0
                module.bias.copy_(normal(module.bias, 0.5))
                module.running_mean += normal(module.running_mean, 0.2) * module.running_var.sqrt()
            elif isinstance(module, QuantConv2d | QuantLinear) and module.bias is not None:
                module.bias.copy_(normal(module.bias, 0.3))
    calibrate(network, [images])
    return network.eval()


def images(*shape: int, seed: int = 0) -> Tensor:
    """Normal values, as a normalised photograph has."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def float_network() -> nn.Sequential:
    """Three convolutions with batch norm, and a dense layer; for images [N, 3, 8, 8]."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 33, 3, padding=1),
        nn.BatchNorm2d(33),
        nn.ReLU(),
        nn.Conv2d(33, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def compare_in_c(found: Iterable[Compared], label: str, board: Board = Board.ALL) -> None:
    """The C of every graph with its semantics, on two feeds, on the host and on a board."""
    graphs = [one.graph for one in found]
    feeds = [one.feeds[:2] for one in found]
    expected = [[evaluate(graph, x) for x in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, [label] * len(graphs), on_board=board)


def body(
    weights: str, activation: str, *, channels: int = 5, size: int = 7, bias: bool = True, input_quantizer: str = ""
) -> nn.Sequential:
    """Two convolutions and a dense layer, every weight by one quantizer, every activation by another."""
    first, second, third = (WEIGHTS[weights]() for _ in range(3))
    entry = ACTIVATIONS[input_quantizer]() if input_quantizer else InputQuant()
    return nn.Sequential(
        entry,
        QuantConv2d(3, channels, 3, padding=1, bias=bias, weight_quantizer=first),
        nn.BatchNorm2d(channels),
        ACTIVATIONS[activation](),
        QuantConv2d(channels, 6, 3, bias=bias, weight_quantizer=second),
        nn.BatchNorm2d(6),
        nn.MaxPool2d(2),
        ACTIVATIONS[activation](),
        nn.Flatten(),
        QuantLinear(6 * ((size - 2) // 2) ** 2, 4, weight_quantizer=third),
    )


def layer(
    weights: str, activation: str, *geometry: Any, image: tuple[int, int, int], entry: str = "int8", **options: Any
) -> tuple[nn.Module, Tensor]:
    """One convolution (arguments as nn.Conv2d's) between two quantizers, and inputs for it."""
    convolution = QuantConv2d(*geometry, weight_quantizer=WEIGHTS[weights](), **options)
    norm = nn.BatchNorm2d(convolution.out_channels)
    return nn.Sequential(ACTIVATIONS[entry](), convolution, norm, ACTIVATIONS[activation]()), images(12, *image)


class Residual(nn.Module):
    """conv, batch norm, ReLU, conv, batch norm, beside the input or a convolution of it; their sum through a ReLU."""

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(filters)
        self.inner = nn.ReLU()
        self.second = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(filters)
        self.beside: nn.Module = nn.Identity()
        if stride > 1 or channels != filters:
            self.beside = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))
        self.outer = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(self.first_norm(self.first(x)))
        return self.outer(self.second_norm(self.second(y)) + self.beside(x))


class Beside(nn.Module):
    """y + branch(y), with no quantizer behind: what the branch reads first must quantize (XNOR-ResNet)."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.branch(x))


class Joined(nn.Module):
    """Two branches through one quantizer, side by side along channels."""

    def __init__(self, first: nn.Module, second: nn.Module, quantizer: ActivationQuantizer) -> None:
        super().__init__()
        self.first, self.second, self.quantizer = first, second, quantizer

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.quantizer(self.first(x)), self.quantizer(self.second(x))], dim=1)


class Difference(nn.Module):
    """The difference of two quantized branches."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) - self.second(x)


class Mean(nn.Module):
    """Over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels)
