"""LayerPrune: the mean of a filter criterion ranks layers; the lowest layers or blocks are removed in one shot.

S. Elkerdawy, thesis, University of Alberta, 2022, chapter 5 (ACCV 2020). The mean over filters, not the sum, as wide
layers would always win. The thesis leaves some details open; chosen here: a block's importance is the mean over its
convolutions; gradients are those of a batch, importances the mean over batches; the feature map criterion is that of
`taylor` without its normalisation, which would make all layers equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tinygen.compress.criteria.bn_scale import bn_scale, bn_taylor
from tinygen.compress.criteria.differentiate import Batches, Loss, cross_entropy, gradients, mean_over, weights
from tinygen.compress.criteria.taylor import taylor_feature_map
from tinygen.compress.criteria.weight_norm import weight_norm
from tinygen.compress.surgery import remove_layers
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import ModelError, UnsupportedError

CRITERIA = ("weight norm", "taylor weight", "feature map", "bn scale", "bn taylor")
"""Criteria of `layer_importance`; `imprint_gains` and `ensemble_ranks` are the others."""


def layer_importance(
    network: nn.Module,
    example: Example,
    names: Sequence[str],
    criterion: str,
    data: Batches = (),
    loss: Loss = cross_entropy,
) -> dict[str, float]:
    """The importance of layers or blocks, in the order given.

    Args:
        example: the network's input, or inputs, with a batch in front.
        names: layers, or modules with layers in them.
        criterion: one of CRITERIA.
        data: of the training set, for the criteria that look at gradients.

    Raises:
        UnsupportedError: no such criterion, or the network cannot be traced.
        ModelError: a candidate has no layer that the criterion knows, or there is no data where it is needed.
    """
    scores = _filter_scores(network, example, criterion, data, loss)
    importance = {}
    for name in names:
        inside = [values for layer, values in scores.items() if layer == name or layer.startswith(f"{name}.")]
        if not inside:
            raise ModelError(
                f"no layer with a score by {criterion}", where=name, fix=f"Layers with one: {', '.join(scores)}."
            )
        importance[name] = sum(float(values.mean()) for values in inside) / len(inside)
    return importance


def _filter_scores(
    network: nn.Module, example: Example, criterion: str, data: Batches, loss: Loss
) -> Mapping[str, Tensor]:
    """One score for each filter, whose mean is the layer's importance."""
    if criterion == "weight norm":
        return weight_norm(network, 2)  # (5.1)
    if criterion == "taylor weight":
        return _taylor_norm(network, data, loss)
    if criterion == "feature map":
        return taylor_feature_map(network, example, data, loss, normalise=False)
    if criterion == "bn scale":
        return {name: gamma.square() for name, gamma in bn_scale(network, example).items()}  # (5.3)
    if criterion == "bn taylor":
        return bn_taylor(network, example, data, loss)
    raise UnsupportedError(
        f"criterion {criterion!r}", where="layer_importance", fix=f"Use one of {', '.join(CRITERIA)}."
    )


def _taylor_norm(network: nn.Module, data: Batches, loss: Loss) -> dict[str, Tensor]:
    """||G * W||_2 of each filter (5.2)."""
    values = weights(network)
    return mean_over(
        {name: torch.linalg.vector_norm((g * values[name].detach()).flatten(1), dim=1) for name, g in batch.items()}
        for batch in gradients(network, values, data, loss)
    )


def ranks(importance: Mapping[str, float]) -> dict[str, int]:
    """LayerRank: the position of each candidate, 1 for the least important; ties are broken by order."""
    ordered = sorted(importance, key=lambda name: importance[name])
    return {name: ordered.index(name) + 1 for name in importance}


def ensemble_ranks(importances: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """The sum of a candidate's ranks by all criteria (5.4); it serves as an importance.

    Raises:
        ModelError: the criteria know different candidates, or there are none.
    """
    if not importances or any(set(each) != set(importances[0]) for each in importances):
        raise ModelError(
            "criteria of different candidates", where="ensemble_ranks", fix="Give importances of the same names."
        )
    ranked = [ranks(importance) for importance in importances]
    return {name: sum(each[name] for each in ranked) for name in importances[0]}


def layer_prune(network: nn.Module, example: Example, importance: Mapping[str, float], count: int) -> nn.Module:
    """LayerPrune_count: a copy of the network without the least important candidates, all at once.

    Raises:
        ModelError: there are too few candidates, or one does not exist.
        UnsupportedError: a candidate changes the shape and has no shortcut.
    """
    if not 0 <= count <= len(importance):
        raise ModelError(f"{count} of {len(importance)} candidates to remove", where="layer_prune", fix="Remove fewer.")
    position = ranks(importance)
    return remove_layers(network, example, [name for name in importance if position[name] <= count])
