"""Pruning by magnitude, and the random baseline of the same granularity.

S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015: the smallest weights
go, the network is trained further. Kernels rank by their mean |w|, so that kernels of different sizes compare.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from tinygen.compress.blocks import connections, order_of
from tinygen.compress.masks import used_weights
from tinygen.compress.ranking import LEVELS, chosen, layers_of, per_kernel, prune_lowest


def magnitude_scores(network: nn.Module, level: str = "weight", exclude: Collection[str] = ()) -> dict[str, Tensor]:
    """|w| of each weight, or its mean over each kernel [O, I]; of the weights that layers compute with.

    Raises:
        UnsupportedError: another level.
        ModelError: `exclude` names no layer, or all.
    """
    sizes = {name: used_weights(layer).abs() for name, layer in layers_of(network, exclude).items()}
    return sizes if chosen("level", level, LEVELS) == "weight" else {n: per_kernel(s) for n, s in sizes.items()}


def random_weight_scores(
    network: nn.Module, level: str = "weight", exclude: Collection[str] = (), *, seed: int = 0
) -> dict[str, Tensor]:
    """Uniform random scores, shaped as those of `magnitude_scores`: the baseline that any criterion has to beat."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: scores.shape for name, scores in magnitude_scores(network, level, exclude).items()}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def ranked_layers(network: nn.Module, level: str, exclude: Collection[str], empty_filters: bool) -> Collection[str]:
    """Names of the layers that can lose weights or kernels.

    Of kernels those of `blocks.connected`: not the first layer's, nor those of convolutions in groups or of one input
    channel, where a kernel is all that a filter has. With empty filters all, and of single weights all.
    """
    if level == "weight" or empty_filters:
        return layers_of(network, exclude)
    return connections(network, order_of(network), exclude)


def prune_by_magnitude(
    network: nn.Module,
    share: float,
    *,
    level: str = "weight",
    scope: str = "global",
    exclude: Collection[str] = (),
    empty_filters: bool = False,
) -> dict[str, Tensor]:
    """Masks without the weights (or kernels) of the smallest magnitude.

    Args:
        network: masks that it has already count as removed: the share is of all weights.
        share: of the weights of the layers that lose any.
        level: "weight" or "kernel"; of kernels, the first layer and such whose filters have one each stay whole.
        scope: the share of each "layer", or of all together ("global").
        exclude: names of layers that stay whole.
        empty_filters: filters may lose their last weight (or kernel), and every layer may lose kernels. The output of
            such filters does not depend on the input; if all filters of a layer are empty, neither does the network's.

    Raises:
        UnsupportedError: the share takes a filter's last weight (or kernel), and `empty_filters` is False.
        ModelError: `exclude` names no layer, or nothing is left.
    """
    scores, names = magnitude_scores(network, level, exclude), ranked_layers(network, level, exclude, empty_filters)
    ranked = {name: scores[name] for name in names}
    return prune_lowest(network, ranked, share, scope=scope, empty_filters=empty_filters)


def prune_at_random(
    network: nn.Module,
    share: float,
    *,
    level: str = "weight",
    scope: str = "global",
    exclude: Collection[str] = (),
    empty_filters: bool = False,
    seed: int = 0,
) -> dict[str, Tensor]:
    """As `prune_by_magnitude`, with random scores."""
    scores = random_weight_scores(network, level, exclude, seed=seed)
    ranked = {name: scores[name] for name in ranked_layers(network, level, exclude, empty_filters)}
    return prune_lowest(network, ranked, share, scope=scope, empty_filters=empty_filters)
