"""The methods of suite `pruned`: each makes of a trained network a smaller one, trained again.

A ratio is of the filters of each layer, of the residual blocks, of the kernels of all convolutions but the first, one
by one or in blocks, or of the weights of the large dense layer; automatic pruning finds its own, up to 40 % of each
layer's filters, on 2-bit codes. All take the same share of each layer but joint masks and automatic pruning, which
choose one for each. MINT and SNACS are compared by their scores alone, on the same blocks and at the same shares as
magnitude and chance: their own limits for each layer are not part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from examples.studies.pruning.training import (
    CONTEXT_GROUPS,
    INNER,
    KERNEL_LAYERS_LEFT_WHOLE,
    PER_LABEL,
    RATE,
    START_RATE,
    BlockScores,
    Start,
)
from tinygen.apps.digits.lowbit import CLASSES
from tinygen.compress import criteria
from tinygen.compress.automatic import AutomaticSettings, RatioSearch, prune_automatically
from tinygen.compress.blocks import grid_of
from tinygen.compress.criteria.static_channels import narrowed
from tinygen.compress.group_lasso import GroupLasso
from tinygen.compress.magnitude import (
    magnitude_scores,
    prune_at_random,
    prune_by_magnitude,
    random_weight_scores,
)
from tinygen.compress.masking import apply_masks
from tinygen.compress.masks import prunable
from tinygen.compress.mint import Connectivity, mint_scores
from tinygen.compress.n_m import n_m_masks
from tinygen.compress.ranking import prune_lowest
from tinygen.compress.snacs import lowest_removed, snacs_scores
from tinygen.compress.surgery import residual_blocks, slim
from tinygen.compress.training import accuracy


@dataclass(frozen=True)
class Pruned:
    """A network from which something was taken, and the training that is still to come.

    Attributes:
        network: pruned, not trained since.
        train: gives it trained, in place or a copy.
    """

    network: nn.Module
    train: Callable[[nn.Module], nn.Module]

    def finished(self) -> nn.Module:
        return self.train(self.network)


Make = Callable[[Start, float], Pruned]

FILTERS, LAYERS, KERNELS, WEIGHTS, QUANTIZED = "filters", "layers", "kernels", "dense weights", "filters of 2-bit codes"
BLOCKS = "blocks of kernels"
DENSE = "dense"
FILTER_RATIOS, LAYER_RATIOS, KERNEL_RATIOS, WEIGHT_RATIOS = (0.5, 0.75), (1 / 3, 2 / 3), (0.75, 0.9), (0.5,)
AUTOMATIC_RATIO = 0.4
LASSO, BN_PENALTY, MASK_RATE, MASK_PENALTY = 0.02, 1e-3, 2.0, 2.0
"""Strengths of group lasso and of the penalties on batch norm scales and on masks, and the masks' learning rate."""


@dataclass(frozen=True)
class Method:
    """A way to make a network smaller.

    Attributes:
        name: of the cases, with the ratio in per cent behind it.
        level: what it takes away.
        ratios: of it; none for networks that are not pruned.
        make: the network, by start and ratio.
        random: the baseline that the others of the level have to beat.
        scores: of blocks that it ranks, where an estimator gives them: their repeatability is reported.
    """

    name: str
    level: str
    ratios: tuple[float, ...]
    make: Make
    random: bool = False
    scores: BlockScores | None = None

    def cases(self) -> dict[str, float]:
        """Ratios by the name of the case."""
        if not self.ratios:
            return {self.name: 0.0}
        return {f"{self.name}-{round(100 * ratio)}": ratio for ratio in self.ratios}


def _by_score(scores: Callable[[Start], Mapping[str, Tensor]]) -> Make:
    """Filters of the lowest scores go, the same share of each layer."""

    def make(start: Start, ratio: float) -> Pruned:
        masks = criteria.filter_masks(scores(start), ratio, groups=start.groups)
        return Pruned(slim(start.network, start.example, masks), start.trained)

    return make


def _bn_scale(start: Start, ratio: float) -> Pruned:
    """Network slimming: trained with the penalty first. Filters without a batch norm go by their weights."""
    before, after = start.halves
    network = start.copy()
    start.trained(network, before, penalty=lambda: BN_PENALTY * criteria.bn_penalty(network))
    scores = criteria.weight_norm(network) | criteria.bn_scale(network, start.example)
    masks = criteria.filter_masks(scores, ratio, groups=start.groups)
    return Pruned(slim(network, start.example, masks), lambda small: start.trained(small, after))


def _static(start: Start, ratio: float) -> Pruned:
    """Narrow from the start, trained for as long as all others together with their start."""
    network = narrowed(start.network, start.example, 1 - ratio, start.seed)
    start.trained(network, start.start_epochs, rate=START_RATE)
    return Pruned(network, start.trained)


def _joint_masks(start: Start, ratio: float) -> Pruned:
    """The sparsity loss counts while more filters are kept than wanted."""
    before, after = start.halves
    masked = criteria.JointMasks(start.copy(), start.example)

    def penalty() -> Tensor:
        kept = masked.sparsity()
        return MASK_PENALTY * kept if float(kept.detach()) > 1 - ratio else 0.0 * kept

    start.trained(masked, before, penalty=penalty, parameters=masked.parameter_groups(RATE, MASK_RATE))
    small = slim(masked.network, start.example, masked.masks())
    return Pruned(small, lambda network: start.trained(network, after))


def _by_importance(importance: Callable[[Start, list[str]], Mapping[str, float]]) -> Make:
    """The residual blocks of least importance go."""

    def make(start: Start, ratio: float) -> Pruned:
        names = residual_blocks(start.network, start.example)
        pruned = criteria.layer_prune(start.network, start.example, importance(start, names), _blocks(ratio, names))
        return Pruned(pruned, start.trained)

    return make


def _blocks(ratio: float, names: list[str]) -> int:
    return round(ratio * len(names))


def _imprint(start: Start, names: list[str]) -> dict[str, float]:
    pairs = start.training_batches
    found = criteria.proxy_accuracies(
        start.network, start.example, ["relu2", *names], pairs, start.batches, normalise=True
    )
    gains = criteria.imprint_gains(found, 1 / CLASSES)
    return {name: gains[name] for name in names}


def _layer_prune(start: Start, names: list[str]) -> dict[str, int]:
    """The ensemble of LayerPrune's criteria."""
    from tinygen.compress.criteria.layer_prune import CRITERIA

    return criteria.ensemble_ranks(
        [criteria.layer_importance(start.network, start.example, names, each, start.batches) for each in CRITERIA]
    )


def _random_blocks(start: Start, names: list[str]) -> dict[str, float]:
    order = torch.rand(len(names), generator=torch.Generator().manual_seed(start.seed))
    return dict(zip(names, order.tolist(), strict=True))


def _by_masks(masks: Callable[[Start, float], Mapping[str, Tensor]]) -> Make:
    """Kernels or weights that masks leave out become zeros, which kernels in C skip."""

    def make(start: Start, ratio: float) -> Pruned:
        network = start.copy()
        apply_masks(network, masks(start, ratio))
        return Pruned(network, start.trained)

    return make


def _lowest_blocks(scores: BlockScores) -> Make:
    """The blocks of the lowest scores go, the same share of each layer."""

    def masks(start: Start, ratio: float) -> Mapping[str, Tensor]:
        return {name: lowest_removed(found, ratio) for name, found in start.connections(scores).items()}

    return _by_masks(masks)


def _mint(network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> dict[str, Connectivity]:
    return mint_scores(
        network, images, labels, per_label=PER_LABEL, groups=CONTEXT_GROUPS, exclude=KERNEL_LAYERS_LEFT_WHOLE, seed=seed
    )


def _snacs(network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> dict[str, Connectivity]:
    return snacs_scores(
        network, images, labels, per_label=PER_LABEL, groups=CONTEXT_GROUPS, exclude=KERNEL_LAYERS_LEFT_WHOLE, seed=seed
    )


def _of_blocks(network: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Connectivity]:
    """Means over blocks of what each kernel [O, I] has."""
    found = {}
    for name, each in values.items():
        grid, (rows, columns) = grid_of(name, prunable(network)[name], CONTEXT_GROUPS), each.shape
        means = each.reshape(grid.rows, rows // grid.rows, grid.columns, columns // grid.columns).mean((1, 3))
        found[name] = Connectivity(means.numpy(), grid, (rows, columns))
    return found


def _block_magnitude(network: nn.Module, _images: Tensor, _labels: Tensor, _seed: int) -> dict[str, Connectivity]:
    return _of_blocks(network, magnitude_scores(network, "kernel", KERNEL_LAYERS_LEFT_WHOLE))


def _block_chance(network: nn.Module, _images: Tensor, _labels: Tensor, seed: int) -> dict[str, Connectivity]:
    return _of_blocks(network, random_weight_scores(network, "kernel", KERNEL_LAYERS_LEFT_WHOLE, seed=seed))


def _group_lasso(start: Start, ratio: float) -> Pruned:
    """The kernels of least weight go, those first that the training has drawn to zero."""
    before, after = start.halves
    network = start.copy()
    lasso = GroupLasso(network, LASSO, exclude=KERNEL_LAYERS_LEFT_WHOLE)
    start.trained(network, before, after_step=lambda _: lasso.step(RATE))
    apply_masks(network, _magnitude(network, ratio))
    return Pruned(network, lambda masked: start.trained(masked, after))


def _magnitude(network: nn.Module, ratio: float) -> dict[str, Tensor]:
    return prune_by_magnitude(network, ratio, level="kernel", scope="layer", exclude=KERNEL_LAYERS_LEFT_WHOLE)


def _random_kernels(start: Start, ratio: float) -> dict[str, Tensor]:
    return prune_at_random(
        start.network, ratio, level="kernel", scope="layer", exclude=KERNEL_LAYERS_LEFT_WHOLE, seed=start.seed
    )


def _n_m(start: Start, ratio: float) -> dict[str, Tensor]:
    """2:4 or 1:4."""
    return n_m_masks(
        start.network, round(4 * (1 - ratio)), 4, exclude=_not_hidden(start.network), channels={"dense1": INNER}
    )


def _not_hidden(network: nn.Module) -> list[str]:
    """All layers but the large dense one."""
    return [name for name in prunable(network) if name != "dense1"]


def _dense_magnitude(start: Start, ratio: float) -> dict[str, Tensor]:
    scores = magnitude_scores(start.network, exclude=_not_hidden(start.network))
    return prune_lowest(start.network, scores, ratio)


def _dense_random(start: Start, ratio: float) -> dict[str, Tensor]:
    return prune_at_random(start.network, ratio, exclude=_not_hidden(start.network), seed=start.seed)


def _automatic(ranking: str) -> Make:
    def make(start: Start, ratio: float) -> Pruned:
        found = prune_automatically(
            start.low_bit,
            start.example,
            lambda network: 100 * accuracy(network, start.batches),
            finetune=start.low_bit_tuned,
            settings=AutomaticSettings(ranking=ranking, seed=start.seed, search=RatioSearch(ratio, seed=start.seed)),
        )
        return Pruned(found.network, start.low_bit_trained)

    return make


METHODS = (
    Method("int8", DENSE, (), lambda start, _: Pruned(start.copy(), start.trained)),
    Method("w2a2", DENSE, (), lambda start, _: Pruned(start.low_bit, start.low_bit_trained)),
    Method("l1", FILTERS, FILTER_RATIOS, _by_score(lambda start: criteria.weight_norm(start.network))),
    Method(
        "taylor",
        FILTERS,
        FILTER_RATIOS,
        _by_score(lambda start: criteria.taylor_gate(start.network, start.example, start.batches)),
    ),
    Method(
        "gradient", FILTERS, FILTER_RATIOS, _by_score(lambda start: criteria.gradient(start.network, start.batches))
    ),
    Method("bn-scale", FILTERS, FILTER_RATIOS, _bn_scale),
    Method("static-width", FILTERS, FILTER_RATIOS, _static),
    Method("joint-masks", FILTERS, FILTER_RATIOS, _joint_masks),
    Method(
        "random-filters",
        FILTERS,
        FILTER_RATIOS,
        _by_score(lambda start: criteria.random_scores(start.network, start.seed)),
        random=True,
    ),
    Method("imprint", LAYERS, LAYER_RATIOS, _by_importance(_imprint)),
    Method("layer-prune", LAYERS, LAYER_RATIOS, _by_importance(_layer_prune)),
    Method("random-layers", LAYERS, LAYER_RATIOS, _by_importance(_random_blocks), random=True),
    Method("magnitude", KERNELS, KERNEL_RATIOS, _by_masks(lambda start, ratio: _magnitude(start.network, ratio))),
    Method("group-lasso", KERNELS, KERNEL_RATIOS, _group_lasso),
    Method("random-kernels", KERNELS, KERNEL_RATIOS, _by_masks(_random_kernels), random=True),
    Method("magnitude-blocks", BLOCKS, KERNEL_RATIOS, _lowest_blocks(_block_magnitude)),
    Method("mint", BLOCKS, KERNEL_RATIOS, _lowest_blocks(_mint), scores=_mint),
    Method("snacs", BLOCKS, KERNEL_RATIOS, _lowest_blocks(_snacs), scores=_snacs),
    Method("random-blocks", BLOCKS, KERNEL_RATIOS, _lowest_blocks(_block_chance), random=True),
    Method("n-m", WEIGHTS, WEIGHT_RATIOS, _by_masks(_n_m)),
    Method("magnitude-dense", WEIGHTS, WEIGHT_RATIOS, _by_masks(_dense_magnitude)),
    Method("random-dense", WEIGHTS, WEIGHT_RATIOS, _by_masks(_dense_random), random=True),
    Method("automatic", QUANTIZED, (AUTOMATIC_RATIO,), _automatic("interactions")),
    Method("automatic-random", QUANTIZED, (AUTOMATIC_RATIO,), _automatic("random"), random=True),
)
"""In the order of the tables."""
