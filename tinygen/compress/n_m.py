"""N:M sparsity: of every M consecutive input channels at most N weights stay (2:4, 1:4, 4:8).

A. Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021. A kernel reads
log2(M) bits of index per weight and no list of ends. Groups lie along the input channels at one place of the window,
which is the order of the weights on the board. Behind a flattened image a dense layer's columns are channel by
channel in torch and pixel by pixel on the board: say how many channels there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from tinygen.compress.masks import used_weights
from tinygen.compress.ranking import layers_of
from tinygen.errors import ModelError, UnsupportedError


def n_m_masks(
    network: nn.Module,
    n: int,
    m: int,
    *,
    scores: Mapping[str, Tensor] | None = None,
    exclude: Collection[str] = (),
    channels: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Weight masks of an N:M pattern: the N highest scores of each group stay (the first of equal ones).

    A last group of fewer than M channels keeps N too, or all it has.

    Args:
        n, m: 0 < n < m.
        scores: of the weights' shape by layer; |w| unless given.
        exclude: names of layers that stay whole.
        channels: by the name of a dense layer that reads a flattened image, the image's channels.

    Raises:
        UnsupportedError: n and m do not fit.
        ModelError: unknown layers, scores of another shape, or channels that do not divide a layer's inputs.
    """
    if not 0 < n < m:
        raise UnsupportedError(f"a pattern {n}:{m}", where="N:M", fix="Use 0 < N < M, as 2:4.")
    layers = layers_of(network, exclude)
    masks = {}
    for name, layer in layers.items():
        values = used_weights(layer).abs() if scores is None else _scores_of(scores, name, layer)
        image = (channels or {}).get(name)
        rows = _as_stored(values, image, name)
        masks[name] = _as_trained(_highest(rows, n, m), values.shape)
    return masks


def is_n_m(mask: Tensor, n: int, m: int, *, channels: int | None = None) -> bool:
    """Whether every group of a weight mask keeps at most N of M."""
    kept = _grouped(_as_stored(mask, channels, "mask").float(), m, 0.0)
    return bool((kept.sum(-1) <= n).all())


def _scores_of(scores: Mapping[str, Tensor], name: str, layer: nn.Module) -> Tensor:
    found = scores.get(name)
    if found is None or found.shape != layer.weight.shape:
        what = "no scores" if found is None else f"scores {list(found.shape)}"
        fix = "Give one score per weight."
        raise ModelError(f"{what} for weights {list(layer.weight.shape)}", where=name, fix=fix)
    return found


def _as_stored(weights: Tensor, channels: int | None, name: str) -> Tensor:
    """[..., I] with the input channels of one place of the window, or one pixel, last."""
    if channels is None:
        return torch.movedim(weights, 1, -1)
    if weights.dim() != 2 or channels < 1 or weights.shape[1] % channels:
        raise ModelError(
            f"an image of {channels} channels in front of weights {list(weights.shape)}",
            where=name,
            fix="Name a dense layer, and a number of channels that divides its inputs.",
        )
    return weights.reshape(len(weights), channels, -1).movedim(1, -1)


def _as_trained(rows: Tensor, shape: torch.Size) -> Tensor:
    return torch.movedim(rows, -1, 1).reshape(shape)


def _grouped(rows: Tensor, m: int, filler: float) -> Tensor:
    """[..., I] to [..., groups, M]."""
    missing = -rows.shape[-1] % m
    return nn.functional.pad(rows, (0, missing), value=filler).unflatten(-1, (-1, m))


def _highest(rows: Tensor, n: int, m: int) -> Tensor:
    groups = _grouped(rows.double(), m, -torch.inf)
    order = torch.argsort(groups, dim=-1, descending=True, stable=True)
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :n], True)
    return kept.flatten(-2)[..., : rows.shape[-1]]
