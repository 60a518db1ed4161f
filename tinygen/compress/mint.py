"""MINT: prune connections by the information they carry, in the context of all others.

M. Ravi Ganesh, J. Corso, S. Yasaei Sekeh, "MINT: Deep Network Compression via Mutual Information-based Neuron
Trimming", ICPR 2020; Ganesh 2022, chapter 3. Each pair of an input channel j and a filter i of a layer is scored by
I(F_i; F_j | all other input channels), from activations of the trained network (`mst_estimator`, `observe`).
Connections that score below one threshold are removed, all at once, and other weights stay; then the network is trained
again with the masks on. Filters may be taken in groups (`blocks`). The gain is in kernels, not in filters: dense code
is no faster for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from tinygen.compress.blocks import Grid, Groups, connected, grid_of, slices
from tinygen.compress.mst_estimator import balanced, geometric_informations
from tinygen.compress.observe import Observer, per_class
from tinygen.compress.ranking import at_least, check_share

PER_LABEL = 500
"""Samples of each class. With 20 of each, the scores of two runs have nothing in common."""


@dataclass(frozen=True, eq=False)
class Connectivity:
    """Scores of a layer's blocks.

    Attributes:
        scores: [rows, columns]; groups of filters by groups of input channels.
        grid: the blocks.
        shape: [O, I] of the layer.
    """

    scores: np.ndarray
    grid: Grid
    shape: tuple[int, int]

    def mask(self, kept: np.ndarray) -> Tensor:
        """The kernel mask of blocks that are kept, bool [rows, columns]."""
        return self.grid.spread(kept, self.shape)


def mint_scores(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    per_label: int = PER_LABEL,
    groups: Groups = 64,
    scaled: bool = True,
    splits: int = 1,
    exclude: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Connectivity]:
    """Conditional mutual information of every connection, by layer in the order of execution.

    A tree is built for each block: with G groups, G^2 trees over 2/3 of the samples, 40 ms each for 3,600.

    Args:
        network: trained; not changed.
        images: [N, ...] training data.
        labels: [N].
        per_label: samples of each class, or fewer if a class has fewer (m in the thesis: 250 to 650 for ten classes).
        groups: of filters and input channels.
        scaled: variables are made comparable (`mst_estimator.balanced`), which is ours; else values are used unscaled,
            and with more than a few filters scores are hardly informative.
        splits: random splits of the samples; scores are means over them, and the time is proportional to their number.
        exclude: names of layers that stay whole; the first layer does so anyway.
        seed: of the choice of samples and of the estimator's splits.

    Raises:
        UnsupportedError: groups that do not divide a layer; a network that cannot be traced.
        ModelError: too few samples, or no layer to rank.
    """
    observer = Observer(network, images[per_class(labels, per_label, seed)])
    found = {}
    for name, layer in connected(observer, exclude).items():
        grid = grid_of(name, layer, groups)
        seen = observer.observed(name)
        inputs, outputs = (values.double().cpu().numpy() for values in (seen.inputs, seen.outputs))
        rows, columns = layer.weight.shape[:2]
        found[name] = Connectivity(_scores(inputs, outputs, grid, seed, scaled, splits), grid, (rows, columns))
    return found


def _scores(inputs: np.ndarray, outputs: np.ndarray, grid: Grid, seed: int, scaled: bool, splits: int) -> np.ndarray:
    made = balanced if scaled else np.asarray
    targets = [made(outputs[:, rows]) for rows in slices(outputs.shape[1], grid.rows)]
    scores = np.empty((grid.rows, grid.columns))
    for column, chosen in enumerate(slices(inputs.shape[1], grid.columns)):
        rest = made(np.delete(inputs, chosen, axis=1))
        # Another split for each column: one unlucky split would be the same for all.
        split = int(np.random.default_rng((seed, column)).integers(2**31))
        scores[:, column] = geometric_informations(targets, made(inputs[:, chosen]), rest, split, splits)
    return scores


def mint_masks(
    scores: Mapping[str, Connectivity], threshold: float, caps: Mapping[str, float] | float = 1.0
) -> dict[str, Tensor]:
    """Kernel masks without the blocks that score below the threshold.

    Args:
        scores: of `mint_scores`.
        threshold: delta, one for the network.
        caps: gamma, the largest share of a layer's blocks to remove, rounded up to whole blocks as in the thesis'
            tables, for all or by layer (1 where there is none).
            If the threshold would remove more, exactly as many blocks as the cap allows are removed, the lowest first.

    Raises:
        UnsupportedError: a cap outside 0..1.
    """
    return {name: found.mask(_kept(found.scores, threshold, _cap(caps, name))) for name, found in scores.items()}


def _cap(caps: Mapping[str, float] | float, name: str) -> float:
    return check_share(caps.get(name, 1.0) if isinstance(caps, Mapping) else caps, "cap")


def _kept(scores: np.ndarray, threshold: float, cap: float) -> np.ndarray:
    kept = scores >= threshold
    if scores.size - kept.sum() > at_least(cap, scores.size):
        kept = np.ones(scores.size, bool)
        kept[np.argsort(scores, axis=None, kind="stable")[: at_least(cap, scores.size)]] = False
    return kept.reshape(scores.shape)


def threshold_for(
    scores: Mapping[str, Connectivity], sizes: Mapping[str, int], share: float, caps: float = 1.0
) -> float:
    """The lowest threshold that removes at least a share of the weights of the layers that are ranked.

    Scores are few and tied (multiples of 1 / n): more may go than was asked for.

    Args:
        scores: of `mint_scores`.
        sizes: weights of each layer.
        share: 0 to 1.
        caps: as in `mint_masks`; above the cap the share cannot be reached, and the highest threshold is given back.
    """
    check_share(share)
    total = sum(sizes[name] for name in scores)
    candidates = np.unique(np.concatenate([found.scores.ravel() for found in scores.values()]))
    for threshold in (*candidates, np.nextafter(candidates[-1], np.inf)):
        masks = mint_masks(scores, float(threshold), caps)
        removed = sum(float((~mask).double().mean()) * sizes[name] for name, mask in masks.items())
        if removed >= share * total - 1e-9:
            break
    return float(threshold)


def reach(scores: Mapping[str, Connectivity], share: float) -> dict[str, Tensor]:
    """Kernel masks without the lowest share of each layer's blocks, whatever their scores."""
    return mint_masks(scores, np.inf, check_share(share))
