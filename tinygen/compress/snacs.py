"""SNACS prunes connections by adaptive mutual information, up to limits that are found jointly for all layers.

M. Ravi Ganesh, D. Blanchard, J. Corso, S. Yasaei Sekeh, "Slimming Neural Networks using Adaptive Connectivity Scores",
IEEE TNNLS 2022; Ganesh 2022, chapter 4. Scores are those of `hash_estimator`, weighed by a function phi of weights or
activations; limits those of `pruning_limits`; the filters of highest `sensitivity` keep all their connections. The
connections with the lowest scores of each layer are removed up to its limit, all at once; then the network is trained
again with the masks on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.compress.blocks import Grid, Groups, connected, grid_of, slices
from tinygen.compress.hash_estimator import (
    CELLS,
    DRAWS,
    Hash,
    beyond_chance,
    cell_width,
    ranked,
    shuffled_within,
    standardised,
)
from tinygen.compress.masks import prunable, used_weights
from tinygen.compress.mint import Connectivity
from tinygen.compress.observe import Observed, Observer, per_class
from tinygen.compress.pruning_limits import LEVELS, Limits, Probe, curve, shared_limits
from tinygen.compress.ranking import at_least, check_share, chosen
from tinygen.compress.sensitivity import downstream, most_sensitive, sensitivity

PHI = ("1", "w", "w2", "exp(-w2/2)", "act", "w act", "exp(-w2 act2/2)")
"""The family of Table 4.6. w is a block's ||weights||_2 and act a sample's ||activations||_2, each divided by its
largest value in the layer (so that weights lie in [0, 1], section 4.3.2). exp(-w2/2) falls with the weights, from 1 to
0.607: it is the thesis' best, and means what it says. Whose activations is not said; here X's and Y's, the block's."""

PER_LABEL = 500
"""Samples of each class: the thesis has 200 to 650 for ten classes (sections 3.3.2 and 4.3.3)."""
PROTECTED = tuple(percent / 100 for percent in range(5, 55, 5))
"""Shares of filters tried by protect="probe"."""


@dataclass(frozen=True, eq=False)
class Snacs:
    """The result of SNACS.

    Attributes:
        masks: kernel masks by layer.
        scores: of blocks.
        limits: per layer, the threshold, and what they remove together. A fixed share of protected filters may leave
            less to remove.
        protected: bool [O] by layer.
    """

    masks: Mapping[str, Tensor]
    scores: Mapping[str, Connectivity]
    limits: Limits
    protected: Mapping[str, Tensor]


def snacs(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    share: float,
    *,
    per_label: int = PER_LABEL,
    groups: Groups = 64,
    phi: str = "exp(-w2/2)",
    form: str = "bounded",
    draws: int = DRAWS,
    protect: float | str = 0.0,
    absolute: bool = False,
    exact: bool = False,
    levels: Iterable[float] = LEVELS,
    exclude: Collection[str] = (),
    seed: int = 0,
) -> Snacs:
    """Masks that remove a share of the network's weights.

    Args:
        network: trained; not changed.
        images, labels: training data, [N, ...] and [N]; scores and support vector machines see the same samples.
        share: tau, of the weights of all convolutions and dense layers.
        per_label: samples of each class, those that there are.
        groups: of filters and input channels, see `blocks`.
        phi: one of PHI.
        form: "bounded" or "literal", see `hash_estimator`.
        draws: of the hashes; scores are means over them.
        protect: share of the filters of each layer that keep all connections, or "probe": for each layer the one of
            PROTECTED with which its machine is most accurate at the layer's limit, if that is more than without (and
            if that limit can still be reached).
        absolute: sensitivity of |W~|.
        exact: see `shared_limits`.
        levels: shares at which layers are probed; the last is the most that any layer loses.
        exclude: names of layers that stay whole; the first does so anyway.
        seed: of samples and hashes.

    Raises:
        UnsupportedError: unknown options, groups that do not divide a layer, or a share that cannot be reached.
        ModelError: no layer to rank.
    """
    probing = isinstance(protect, str) and chosen("protect", protect, ("probe",)) == "probe"
    shares = PROTECTED if probing else (check_share(float(protect), "protected share"),)
    index = per_class(labels, per_label, seed)
    observer = Observer(network, images[index])
    layers = connected(observer, exclude)
    estimator = Estimator(phi, form, draws, seed)
    scores = {
        name: connectivity(observer.observed(name), layer, grid_of(name, layer, groups), estimator)
        for name, layer in layers.items()
    }
    probes = {name: Probe(observer, name, labels[index]) for name in layers}
    levels = tuple(levels)
    curves = {name: curve(probes[name], partial(lowest_removed, scores[name]), levels) for name in layers}
    sizes = {name: layer.weight.numel() for name, layer in prunable(network).items()}
    limits = shared_limits(curves, sizes, share, exact=exact)
    masks, protected = {}, {}
    for name, found in scores.items():
        ranks = _sensitivities(observer, name, absolute)
        candidates = [] if ranks is None else [_protected_rows(found, ranks, part) for part in shares]
        masks[name], protected[name] = _best(probes[name], found, limits.shares[name], candidates, probing)
    return Snacs(masks, scores, limits, protected)


def snacs_scores(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    per_label: int = PER_LABEL,
    groups: Groups = 64,
    phi: str = "exp(-w2/2)",
    form: str = "bounded",
    draws: int = DRAWS,
    exclude: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Connectivity]:
    """Adaptive mutual information of every connection, by layer in the order of execution; for options see `snacs`."""
    observer = Observer(network, images[per_class(labels, per_label, seed)])
    estimator = Estimator(phi, form, draws, seed)
    return {
        name: connectivity(observer.observed(name), layer, grid_of(name, layer, groups), estimator)
        for name, layer in connected(observer, exclude).items()
    }


@dataclass(frozen=True)
class Estimator:
    """How adaptive mutual information is estimated; see `snacs`."""

    phi: str
    form: str = "bounded"
    draws: int = DRAWS
    seed: int = 0


def connectivity(observed: Observed, layer: nn.Module, grid: Grid, estimator: Estimator) -> Connectivity:
    """Adaptive mutual information of each block of a layer: the mean over the draws of the hashes."""
    chosen("phi", estimator.phi, PHI)
    values, given = (part.double().cpu().numpy() for part in (observed.outputs, observed.inputs))
    x, y, z = ranked(values), ranked(given), standardised(given)
    generator = np.random.default_rng(estimator.seed)
    rows, columns = slices(x.shape[1], grid.rows), slices(y.shape[1], grid.columns)
    few = len(x) / CELLS
    # One width for all groups of a kind: they have the same dimension, and scores must compare.
    wide, tall = cell_width(x[:, rows[0]], few), cell_width(y[:, columns[0]], few)
    around = cell_width(np.delete(z, columns[0], axis=1))
    weights = _phi(estimator.phi, observed, layer, rows, columns)
    scores = np.zeros((grid.rows, grid.columns))
    for _ in range(estimator.draws):
        of_x, of_y, of_z = Hash(x, wide, generator), Hash(y, tall, generator), Hash(z, around, generator)
        targets = [of_x.of(row) for row in rows]
        for j, column in enumerate(columns):
            source, rest = of_y.of(column), of_z.without(column)
            shuffled = shuffled_within(source, rest, generator)
            for i, target in enumerate(targets):
                found = beyond_chance(target, source, shuffled, rest, weights[i][j], estimator.form)
                scores[i, j] += found / estimator.draws
    outputs, inputs = layer.weight.shape[:2]
    return Connectivity(scores, grid, (outputs, inputs))


def _phi(
    phi: str, observed: Observed, layer: nn.Module, rows: list[slice], columns: list[slice]
) -> list[list[np.ndarray]]:
    """phi of each block: one number, or one for each sample."""
    w = _block_norms(layer, rows, columns)
    act = _activation_norms(observed, rows, columns) if "act" in phi else np.ones((*w.shape, 1))
    w = w[..., None]
    formula = {
        "1": np.ones_like(w),
        "w": w,
        "w2": w**2,
        "exp(-w2/2)": np.exp(-(w**2) / 2),
        "act": act,
        "w act": w * act,
        "exp(-w2 act2/2)": np.exp(-(w**2) * act**2 / 2),
    }[phi]
    return [[np.asarray(block[0] if len(block) == 1 else block) for block in row] for row in formula]


def _block_norms(layer: nn.Module, rows: list[slice], columns: list[slice]) -> np.ndarray:
    weights = used_weights(layer).double().cpu().numpy()
    norms = np.array([[np.linalg.norm(weights[row, column]) for column in columns] for row in rows])
    return norms / max(norms.max(), np.finfo(float).tiny)


def _activation_norms(observed: Observed, rows: list[slice], columns: list[slice]) -> np.ndarray:
    """[rows, columns, N]."""
    x, y = (values.double().cpu().numpy() ** 2 for values in (observed.outputs, observed.inputs))
    of_rows, of_columns = ([values[:, part].sum(1) for part in parts] for values, parts in ((x, rows), (y, columns)))
    norms = np.sqrt(np.array([[a + b for b in of_columns] for a in of_rows]))
    return norms / max(norms.max(), np.finfo(float).tiny)


def lowest_removed(found: Connectivity, share: float, protected: np.ndarray | None = None) -> Tensor:
    """The kernel mask without the lowest share of a layer's blocks, those of protected rows (bool) aside.

    Where the blocks that are not protected are fewer than that, all of them go.
    """
    scores = found.scores if protected is None else np.where(protected[:, None], np.inf, found.scores)
    free = int(np.isfinite(scores).sum())
    kept = np.ones(scores.size, bool)
    kept[np.argsort(scores, axis=None, kind="stable")[: min(free, at_least(share, scores.size))]] = False
    return found.mask(kept.reshape(scores.shape))


def _sensitivities(observer: Observer, name: str, absolute: bool) -> Tensor | None:
    weights = downstream(observer, name)
    return None if weights is None else sensitivity(weights, absolute=absolute)


def _protected_rows(found: Connectivity, ranks: Tensor, share: float) -> np.ndarray:
    """bool [rows]: groups of filters rank by the sum over their filters."""
    return most_sensitive(ranks.reshape(found.grid.rows, -1).sum(1), share).numpy()


def _best(
    probe: Probe, found: Connectivity, share: float, candidates: list[np.ndarray], probing: bool
) -> tuple[Tensor, Tensor]:
    """The mask and the protected filters, [O]; of equally accurate ones the first, nobody before all."""
    best = np.zeros(found.grid.rows, bool)
    if probing:
        wanted = at_least(share, found.scores.size)
        # Where fewer blocks are left than have to go, protection would win by pruning less.
        fair = [rows for rows in candidates if (~rows).sum() * found.grid.columns >= wanted]
        tried = [best, *fair]
        best = tried[int(np.argmax([probe.accuracy(lowest_removed(found, share, rows)) for rows in tried]))]
    elif candidates:
        best = candidates[0]
    filters = torch.from_numpy(np.repeat(best, found.shape[0] // found.grid.rows))
    return lowest_removed(found, share, best), filters
