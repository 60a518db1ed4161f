"""SNACS's sensitivity: filters that the next layer depends on are protected (Ganesh 2022, section 4.2.5).

lambda(F_i) = sum over the next layer's filters c of W~(c, i) / C(c), W~ being its weights averaged over height and
width and C(c) the sum of W~(c, .) (4.10, 4.11). Both are signed as printed, and C may be near 0: single values are then
large and cancel out, while the sum of all lambda is exactly the number of filters c. `absolute` takes |W~| instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinygen.compress.masks import prunable, used_weights
from tinygen.compress.observe import Observer
from tinygen.compress.ranking import at_least

CANCELLED = 1e-9
"""A filter whose |C| is below this part of sum |W~| has no share to give out and is left out."""


def sensitivity(weights: Tensor, *, absolute: bool = False) -> Tensor:
    """lambda of each input channel, [I] float64.

    Args:
        weights: of the next layer, [O, I, ...].
        absolute: of |W~|; the signed form is the paper's.
    """
    means = weights.double().flatten(2).mean(2) if weights.dim() > 2 else weights.double()
    means = means.abs() if absolute else means
    sums = means.sum(1, keepdim=True)
    usable = (sums.abs() > CANCELLED * means.abs().sum(1, keepdim=True)).flatten()
    return (means[usable] / sums[usable]).sum(0)


def downstream(observer: Observer, name: str) -> Tensor | None:
    """Weights [rows, O] of all layers that read the filters of this one, averaged over what they see of each.

    A dense layer behind a flattened image sees each filter at several pixels. None where nobody reads all filters and
    nothing else: the last layer, or one in front of a concatenation or a depthwise convolution.
    """
    layers = prunable(observer.network)
    filters = layers[name].weight.shape[0]
    rows = [_by_filter(layers[reader], filters) for reader in observer.readers(name)]
    found = [part for part in rows if part is not None]
    return torch.cat(found) if found else None


def _by_filter(reader: nn.Module, filters: int) -> Tensor | None:
    weights = used_weights(reader).double()
    if isinstance(reader, nn.Linear) and weights.shape[1] % filters == 0:
        return weights.reshape(len(weights), filters, -1).mean(2)
    if weights.shape[1] != filters:
        return None
    return weights.flatten(2).mean(2)


def most_sensitive(values: Tensor, share: float) -> Tensor:
    """bool [I]: the highest share of values, the first of equal ones; none for 0."""
    chosen = torch.zeros(len(values), dtype=torch.bool)
    chosen[torch.argsort(values, descending=True, stable=True)[: at_least(share, len(values))]] = True
    return chosen
