"""Random scores: the baseline that every criterion has to beat.

Random models as in S. Elkerdawy, thesis, University of Alberta, 2022, section 4.1: a share of up to 0.9 of each layer's
filters, or some of the layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tinygen.compress.criteria.selection import at_most, layer_sizes, remove_lowest, scored_groups
from tinygen.compress.masks import prunable
from tinygen.compress.surgery import groups
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import ModelError, UnsupportedError


def random_scores(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Scores drawn from 0 to 1, [O] by layer; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(len(layer.weight), generator=generator) for name, layer in prunable(network).items()}


def random_filters(network: nn.Module, example: Example, seed: int, most: float = 0.9) -> dict[str, Tensor]:
    """Masks, bool [O] by layer, that take away a share of each group of layers, drawn from 0 to `most` for each.

    Raises:
        UnsupportedError: `most` is not 0 to 1, or the network cannot be traced.
        ModelError: the network does not take the example.
    """
    if not 0.0 <= most <= 1.0:
        raise UnsupportedError(f"a share of {most}", where="random_filters", fix="Use 0 to 1.")
    generator = torch.Generator().manual_seed(seed)
    found = groups(network, example)
    masks = {name: torch.ones(size, dtype=torch.bool) for name, size in layer_sizes(found).items()}
    for group, scores in scored_groups(random_scores(network, seed), found):
        share = most * float(torch.rand((), generator=generator))
        remove_lowest([(group, scores)], at_most(share, len(scores)), masks)
    return masks


def random_layers(candidates: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of the candidates, in their order.

    Raises:
        ModelError: there are fewer candidates.
    """
    if not 0 <= count <= len(candidates):
        raise ModelError(f"{count} of {len(candidates)} candidates", where="random_layers", fix="Ask for fewer.")
    generator = torch.Generator().manual_seed(seed)
    chosen = set(torch.randperm(len(candidates), generator=generator)[:count].tolist())
    return [name for place, name in enumerate(candidates) if place in chosen]
