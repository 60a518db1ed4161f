"""From scores to masks: what every criterion that ranks single weights or kernels shares.

Scores are floats by the name of a layer, of the weights' shape or [O, I] for kernels; the lowest go first. Shares are
of removed weights, and are reached or just exceeded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from tinygen.compress.masks import prunable
from tinygen.errors import ModelError, UnsupportedError

LEVELS = ("weight", "kernel")
SCOPES = ("layer", "global")


def chosen(what: str, value: str, choices: tuple[str, ...]) -> str:
    """`value`, when it is one of `choices`.

    Raises:
        UnsupportedError: it is not.
    """
    if value not in choices:
        raise UnsupportedError(f"{what} {value!r}", where="pruning", fix=f"Use one of {', '.join(choices)}.")
    return value


def layers_of(network: nn.Module, exclude: Collection[str] = ()) -> dict[str, nn.Module]:
    """Convolutions and dense layers but for those named in `exclude`.

    Raises:
        ModelError: there is no layer of a name, or none is left.
    """
    layers = prunable(network)
    if unknown := sorted(set(exclude) - set(layers)):
        fix = f"Layers: {', '.join(layers)}."
        raise ModelError(f"no layer {', '.join(unknown)} to exclude", where=type(network).__name__, fix=fix)
    left = {name: layer for name, layer in layers.items() if name not in exclude}
    if not left:
        raise ModelError("no layer is left to prune", where=type(network).__name__, fix="Exclude fewer.")
    return left


def per_kernel(values: Tensor) -> Tensor:
    """Means over height and width, [O, I]; of dense layers the values themselves."""
    return values.flatten(2).mean(2) if values.dim() > 2 else values


def check_share(share: float, what: str = "share") -> float:
    """`share`, when it lies in 0..1.

    Raises:
        UnsupportedError: it does not.
    """
    if not 0.0 <= share <= 1.0:
        raise UnsupportedError(f"{what} {share}", where="pruning", fix="Give the part to remove, from 0 to 1.")
    return share


def at_least(share: float, total: int) -> int:
    """The smallest whole number that is at least this share of `total` (products such as 0.7 * 10 are not above)."""
    return min(total, math.ceil(share * total - 1e-9))


def keep_highest(
    scores: Mapping[str, Tensor],
    share: float,
    *,
    scope: str = "layer",
    weights_each: Mapping[str, int] | None = None,
    kept: Mapping[str, Tensor] | None = None,
    empty_filters: bool = True,
) -> dict[str, Tensor]:
    """Masks without the lowest scores; of equal ones those that come first go first.

    Args:
        scores: by layer.
        share: of the weights, to remove; of those in `kept`, where it is given.
        scope: this share of each "layer", or of all layers together ("global").
        weights_each: how many weights one score stands for (a kernel's size), by layer; 1 unless given.
        kept: masks so far, shaped as the scores; what they leave out stays removed.
        empty_filters: a filter may lose all that it has; else its highest score stays, whatever others have.

    Raises:
        ModelError: a score is not a number, or a mask has another shape.
        UnsupportedError: a share outside 0..1, or one that cannot be had without empty filters; another scope.
    """
    check_share(share)
    start = {name: _start(name, values, None if kept is None else kept.get(name)) for name, values in scores.items()}
    free = start if empty_filters else {name: start[name] & ~_last(scores[name], start[name]) for name in scores}
    if chosen("scope", scope, SCOPES) == "global":
        return _lowest_removed(scores, start, free, share, weights_each or {})
    return {name: _lowest_removed({name: values}, start, free, share, {})[name] for name, values in scores.items()}


def _last(scores: Tensor, kept: Tensor) -> Tensor:
    """Marks the highest remaining score of each filter, the last among equal ones; bool, shaped as the scores."""
    rows = torch.where(kept, scores.double(), -torch.inf).flatten(1)
    highest = rows.shape[1] - 1 - rows.flip(1).argmax(1)
    last = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, highest[:, None], True)
    return last.reshape(scores.shape)


def _start(name: str, scores: Tensor, kept: Tensor | None) -> Tensor:
    if bool(torch.isnan(scores).any()):
        raise ModelError("a score is not a number", where=name, fix="Check the network's weights and the data.")
    if kept is None:
        return torch.ones_like(scores, dtype=torch.bool)
    if kept.shape != scores.shape:
        what = f"a mask {list(kept.shape)} for scores {list(scores.shape)}"
        raise ModelError(what, where=name, fix="Rank weights with weight masks, kernels with kernel masks.")
    return kept


def _lowest_removed(
    scores: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    free: Mapping[str, Tensor],
    share: float,
    weights_each: Mapping[str, int],
) -> dict[str, Tensor]:
    """Removes the lowest removable scores, ranked over all layers, until the share of their weights is reached."""
    flat = torch.cat([values.double().flatten() for values in scores.values()])
    live, may_go = (torch.cat([part[name].flatten() for name in scores]) for part in (start, free))
    sizes = torch.cat([torch.full((v.numel(),), weights_each.get(name, 1)) for name, v in scores.items()])
    order = torch.argsort(flat[may_go], stable=True)
    alive = may_go.nonzero().flatten()[order]
    removed = torch.cumsum(sizes[alive], 0)
    total, most = int(sizes[live].sum()), int(removed[-1]) if len(removed) else 0
    wanted = at_least(share, total)
    if wanted > most:
        raise UnsupportedError(
            f"{share:.1%} of the weights: {most / total:.1%} can go without taking a filter's last connection",
            where=", ".join(scores),
            fix="Ask for less, or allow empty_filters=True: such filters give constants.",
        )
    # How many scores it takes until that many weights are gone.
    count = int(torch.searchsorted(removed, wanted)) + 1 if wanted else 0
    left = live.clone()
    left[alive[:count]] = False
    parts = torch.split(left, [values.numel() for values in scores.values()])
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def prune_lowest(
    network: nn.Module,
    scores: Mapping[str, Tensor],
    share: float,
    *,
    scope: str = "layer",
    kept: Mapping[str, Tensor] | None = None,
    empty_filters: bool = False,
) -> dict[str, Tensor]:
    """`keep_highest` for scores of a network's weights or kernels, kernels counted with their sizes.

    A filter whose inputs are all gone gives the same for every input: unless told otherwise, each keeps a connection.
    """
    layers = prunable(network)
    each = {name: layers[name].weight.numel() // values.numel() for name, values in scores.items()}
    return keep_highest(scores, share, scope=scope, weights_each=each, kept=kept, empty_filters=empty_filters)
