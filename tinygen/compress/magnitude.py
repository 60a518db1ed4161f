"""Pruning by magnitude, and the random baseline of the same granularity.

S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015: the smallest weights
go, the network is trained further. Kernels rank by their mean |w|, so that kernels of different sizes compare.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

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
    """Uniform scores, shaped as those of `magnitude_scores`: what any criterion has to be better than."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: scores.shape for name, scores in magnitude_scores(network, level, exclude).items()}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def prune_by_magnitude(
    network: nn.Module, share: float, *, level: str = "weight", scope: str = "global", exclude: Collection[str] = ()
) -> dict[str, Tensor]:
    """Masks without the weights (or kernels) of the smallest magnitude.

    Args:
        network: masks that it has already count as removed: the share is of all weights.
        share: of the weights of the layers that are not excluded.
        level: "weight" or "kernel".
        scope: the share of each "layer", or of all together ("global").
        exclude: names of layers that stay whole.
    """
    return prune_lowest(network, magnitude_scores(network, level, exclude), share, scope=scope)


def prune_at_random(
    network: nn.Module, share: float, *, level: str = "weight", scope: str = "global",
    exclude: Collection[str] = (), seed: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """As `prune_by_magnitude`, by chance."""
    return prune_lowest(network, random_weight_scores(network, level, exclude, seed=seed), share, scope=scope)
