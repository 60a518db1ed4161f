"""Networks that decide: their graphs beside the modules, decisions included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from tests.frontends.torch_nn.networks import ACTIVATIONS, WEIGHTS, like_trained
from tests.support.cases import Draw
from tinygen.frontends.torch_nn import read_quantized
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.paths import path_of
from tinygen.nn import (
    Affine8,
    EarlyExit,
    InputQuant,
    MixtureOfExperts,
    QuantConv2d,
    QuantLinear,
    SkipBlock,
    Symmetric8,
    decisions,
    every_exit,
    exits_of,
    skip_blocks,
)

Feeds = list[list[np.ndarray]]


def conv(inputs: int, outputs: int, kernel: int = 3, weights: str = "int8", **options: object) -> QuantConv2d:
    quantizer = WEIGHTS[weights]()
    return QuantConv2d(inputs, outputs, kernel, padding=kernel // 2, weight_quantizer=quantizer, **options)


def head(channels: int, outputs: int) -> nn.Sequential:
    """An average, and a dense layer: of exits and of gates."""
    dense = QuantLinear(channels, outputs, weight_quantizer=Symmetric8())
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense)


class Residual(nn.Module):
    """Two convolutions and a shortcut; what comes out is quantized outside."""

    def __init__(self, channels: int, weights: str, activation: str) -> None:
        super().__init__()
        self.first, self.norm = conv(channels, channels, weights=weights), nn.BatchNorm2d(channels)
        self.between = ACTIVATIONS[activation]()
        self.second = conv(channels, channels, weights=weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.norm(self.first(x)))) + x


_ACTIVATIONS = ("int8", "int8-relu", "relu3", "tanh4")


def random_experts(draw: Draw, channels: int) -> MixtureOfExperts:
    """Two to four experts, one or several of them chosen; an expert may hand on what it gets."""
    count, activation = draw.integer(2, 4), ACTIVATIONS[draw.choice(_ACTIVATIONS)]()
    k = draw.integer(1, count)
    weights = draw.choice(["all", "none"] if k == 1 else ["all", "chosen"])
    experts: list[nn.Module] = [conv(channels, channels, draw.choice([1, 3])) for _ in range(count - 1)]
    experts.append(nn.Identity() if draw.yes() else Residual(channels, "int8", "relu3"))
    return MixtureOfExperts(head(channels, count), experts, quantizer=activation, k=k, weights=weights)


def random_stage(draw: Draw, inputs: int, outputs: int) -> nn.Sequential:
    """A convolution, its activation, and perhaps a block that is skipped, within which another may lie."""
    weights, activation = draw.choice(["int8", "tanh2", "ternary"]), draw.choice(_ACTIVATIONS)
    quantizer = ACTIVATIONS[activation]()
    stride = draw.integer(1, 2)
    layers: list[nn.Module] = [
        conv(inputs, outputs, weights=weights, stride=stride),
        nn.BatchNorm2d(outputs),
        quantizer,
    ]
    if draw.yes():
        layers.append(random_experts(draw, outputs))
    if draw.yes():
        after = quantizer if draw.yes() else ACTIVATIONS[draw.choice(_ACTIVATIONS)]()
        block: nn.Module = Residual(outputs, weights, activation)
        if draw.yes():
            within = Residual(outputs, "int8", "relu3")
            block = nn.Sequential(block, after, SkipBlock(within, head(outputs, 1), quantizer=after))
        layers.append(SkipBlock(block, head(outputs, 1), quantizer=after))
    return nn.Sequential(*layers)


@torch.no_grad()
def settle(network: nn.Module, x: Tensor) -> None:
    """Thresholds such that about half of the samples that reach a decision take each of its branches."""
    for part in skip_blocks(network):
        seen: list[Tensor] = []
        hook = part.gate_quantizer.register_forward_hook(lambda _module, _inputs, out, seen=seen: seen.append(out))
        network(x)
        hook.remove()
        if seen:
            part.threshold.fill_(float(seen[0].flatten().median()))
    exits = exits_of(network)
    with every_exit(network):
        logits = network(x) if exits else []
    reached = torch.ones(len(x), dtype=torch.bool)
    for part, found in zip(exits, logits, strict=False):
        part.threshold.fill_(float(part.confidence(found)[reached].median()) if bool(reached.any()) else 0.0)
        reached &= ~part.leaves(found)


def random_exits(draw: Draw) -> tuple[nn.Module, Tensor]:
    """Up to three exits, blocks that are skipped in the stages; parameters that a trained network could have."""
    torch.manual_seed(draw.integer(0, 9999))
    classes, channels = draw.integer(2, 6), [3, *(draw.integer(2, 7) for _ in range(draw.integer(2, 4)))]
    stages = [random_stage(draw, *pair) for pair in pairwise(channels)]
    stages[0] = nn.Sequential(InputQuant(), *stages[0])
    quantizer, measure = Affine8(), draw.choice(["margin", "probability", "entropy"])
    network = nn.Sequential(stages[-1], head(channels[-1], classes))
    for stage, width in reversed(list(zip(stages[:-1], channels[1:-1], strict=True))):
        network = nn.Sequential(stage, EarlyExit(head(width, classes), network, quantizer=quantizer, measure=measure))
    x = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(draw.integer(0, 9999)))
    like_trained(network, x, draw.integer(0, 9999))
    with torch.no_grad():
        settle(network, x)
    return network, x


def taken(graph: Graph, row: Sequence[np.ndarray]) -> dict[str, int]:
    """Which branch each operator that ran took, by name."""
    return {name.rpartition("/")[2]: index for name, index in path_of(graph, row)}


def feeds_of(network: nn.Module, x: Tensor) -> Feeds:
    """Codes of the model's input, as the graph takes them."""
    entry = next(part for part in network.modules() if isinstance(part, InputQuant))
    return [[row[None]] for row in np.moveaxis(entry.codes(x)[0], 1, -1)]


@torch.no_grad()
def compare_decisions(network: nn.Module, x: Tensor, name: str) -> tuple[Graph, Feeds, list[list[np.ndarray]]]:
    """Asserts that the graph takes the module's branches, and gives its outputs; the graph, feeds and outputs."""
    graph, feeds = read_quantized(network, x[:1], name), feeds_of(network, x)
    found = network(x)
    chosen = {key.replace(".", "_"): value for key, value in decisions(network).items()}
    outputs = [evaluate(graph, row) for row in feeds]
    ours: dict[str, list[int]] = {}
    for row in feeds:
        for key, index in taken(graph, row).items():
            ours.setdefault(key, []).append(index)
    for key in [key for key, wanted in chosen.items() if wanted.dim() == 2 and wanted.shape[1] > 1]:
        wanted = chosen.pop(key)
        chosen |= {f"{key}_choice_{j}": column for j, column in enumerate(wanted.T)}
    for key, wanted in chosen.items():
        assert ours[key] == wanted.flatten().tolist(), f"{name}, {key}: other branches than the module's"
    encoding = graph.tensors[graph.outputs[0]].integer
    real = np.concatenate([encoding.integers(output[0]) for output in outputs]) * encoding.scale[0]
    if real.ndim == 4:
        real = np.moveaxis(real, -1, 1)
    # The module adds in float32: sums that cancel have an error of the size of their terms' rounding.
    rounding = 4.0 * np.finfo(np.float32).eps * np.abs(real).max()
    np.testing.assert_allclose(
        real, found.numpy(), rtol=1e-5, atol=max(encoding.scale[0] * 1e-3, rounding), err_msg=name
    )
    return graph, feeds, outputs
