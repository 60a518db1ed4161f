"""Random scores: what every criterion has to be better than."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinygen.compress.masks import prunable


def random_scores(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Scores drawn from 0 to 1, [O] by layer; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(len(layer.weight), generator=generator) for name, layer in prunable(network).items()}
