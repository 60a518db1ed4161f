"""How much accuracy each layer or block adds, estimated without training from one pass over the data.

S. Elkerdawy, thesis, University of Alberta, 2022, chapter 4 (ICIP 2020). A classifier behind each candidate uses the
mean embedding of each class; its gain in accuracy over the previous classifier is the candidate's importance. The
thesis leaves some details open; chosen here: the first candidate gains over chance; embeddings of at least one position
(where a layer has more than 4 N filters, Eq. 4.1 rounds to none); halves are rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinygen.compress.criteria.differentiate import Batches, no_batch
from tinygen.compress.surgery.taps import Taps
from tinygen.compress.surgery.tracing import Example, evaluating


def imprint_lengths(filters: Mapping[str, int], length: int) -> dict[str, int]:
    """d_i = round(sqrt(N / f_i)) (Eq. 4.1), at least 1: embeddings are d_i x d_i x f_i.

    Args:
        filters: f_i by candidate.
        length: N.
    """
    return {name: max(1, math.floor(math.sqrt(length / count) + 0.5)) for name, count in filters.items()}


def proxy_accuracies(
    network: nn.Module,
    example: Example,
    names: Sequence[str],
    training: Batches,
    validation: Batches,
    *,
    length: int | None = None,
    normalise: bool = False,
) -> dict[str, float]:
    """Accuracy, 0 to 1, of a classifier behind each candidate, in the order of use.

    Args:
        example: the network's input, or inputs, with a batch in front.
        names: layers (seen behind batch norm and activation) or blocks.
        training: data that the class embeddings are computed from (Eq. 4.2).
        validation: other data, on which accuracy is measured (Eq. 4.3).
        length: N, the length that embeddings are brought to; the last candidate's number of filters unless given.
        normalise: means and embeddings of length 1, so that the largest product is the nearest class. Eq. 4.3 has the
            plain product.

    Raises:
        ModelError: a candidate does not exist or is not used, or there is no data.
        UnsupportedError: the network cannot be traced.
    """
    taps = Taps(network, example, names)
    sums: dict[str, Tensor] = {}
    with evaluating(network):
        counts = torch.zeros(0)
        for x, labels in training:
            classes = max(int(labels.max()) + 1, len(counts))
            counts = _grown(counts, classes) + torch.bincount(labels, minlength=classes)
            one_hot = functional.one_hot(labels, classes).T
            for name, embedding in _embeddings(taps, x, length).items():
                grown = _grown(sums.get(name, embedding.new_zeros(0, embedding.shape[1])), classes)
                sums[name] = grown + one_hot.to(embedding) @ embedding
        if not len(counts):
            raise no_batch()
        means = {name: total / counts.to(total).clamp_min(1)[:, None] for name, total in sums.items()}
        right, seen = dict.fromkeys(taps.names, 0), 0
        for x, labels in validation:
            seen += len(labels)
            for name, embedding in _embeddings(taps, x, length).items():
                mean = functional.normalize(means[name], dim=1) if normalise else means[name]
                # A scaled embedding has the same largest product: only the means need be normalised.
                products = embedding @ mean.T
                products[:, counts == 0] = -math.inf
                right[name] += int((products.argmax(1) == labels).sum())
    if not seen:
        raise no_batch()
    return {name: correct / seen for name, correct in right.items()}


def imprint_gains(accuracies: Mapping[str, float], chance: float) -> dict[str, float]:
    """acc_i - acc_(i-1): what each candidate adds to the one before; the first, to `chance` (1 / classes)."""
    before = [chance, *accuracies.values()]
    return {name: accuracy - before[place] for place, (name, accuracy) in enumerate(accuracies.items())}


def _embeddings(taps: Taps, x: Tensor, length: int | None) -> dict[str, Tensor]:
    """[N, d d f] by candidate."""
    _, maps = taps.run(x)
    wanted = maps[taps.names[-1]].shape[1] if length is None else length
    sides = imprint_lengths({name: maps[name].shape[1] for name in taps.names}, wanted)
    return {
        name: (
            functional.adaptive_avg_pool2d(maps[name], sides[name]) if maps[name].dim() == 4 else maps[name]
        ).flatten(1)
        for name in taps.names
    }


def _grown(values: Tensor, rows: int) -> Tensor:
    """Zero rows appended up to a given number."""
    return torch.cat([values, values.new_zeros(rows - len(values), *values.shape[1:])])
