"""Methods that make networks smaller while they are trained, or after: one file per method, its paper in the docstring.

What they have in common: they take an nn.Module and give masks (see `masks`), and a mask becomes a smaller network in
one place (`surgery`), or stays in it as zeros that kernels skip.

    from tinygen.compress import accuracy, filter_masks, finetune, groups, slim, weight_norm

    masks = filter_masks(weight_norm(network), 0.5, groups=groups(network, example))
    small = slim(network, example, masks)              # filters leave; or, kernels that stay as zeros:
    apply_masks(network, prune_by_magnitude(network, 0.8, level="kernel"))
    finetune(small, batches, epochs=3, lr=0.02)
    tinygen.save(tinygen.export(small, example, calibration=x), "small.tg")

Masks, True for what is kept
    FilterMasks [O], KernelMasks [O, I], WeightMasks: by a layer's name; prunable: the layers that can have some
    apply_masks, masks_of: put on weights, where they hold in training; read back
    make_permanent, sparsity, copy_network: masks to plain zeros; shares of zeros; a copy (copy.deepcopy cannot)
Smaller networks
    slim, masked: without filters; as wide as before, and equal to it
    groups, consistent, unread_filters: filters that go together; masks that fit; filters nobody reads
    removable_layers, residual_blocks, remove_layers: whole layers
    slim_graph, masked_graph: `slim` and `masked` for a Graph
Which filters
    filter_masks: without the lowest scores, which are those of
        weight_norm, bn_scale, bn_taylor, taylor_weight, taylor_gate, taylor_feature_map or another of `criteria`
    bn_penalty: what makes batch norms' scales small in training
    prune_iteratively: a few at a time, with training in between
    JointMasks: masks trained with the task
    static_channels, narrowed, random_filters: the same share of every layer; that, untrained; chance
    prune_automatically, AutomaticSettings, RatioSearch: quantized networks, shares by Bayesian optimisation
Which layers
    layer_importance, proxy_accuracies, imprint_gains, ensemble_ranks, random_layers, layer_prune
Which kernels or weights
    prune_by_magnitude, prune_by_obd, prune_at_random: the smallest; by curvature; chance
    mint_scores, threshold_for, mint_masks: MINT; SNACS is `tinygen.compress.snacs.snacs`
    GroupLasso: a penalty that empties groups
    n_m_masks, is_n_m: N of M consecutive channels
    iterative_magnitude_pruning, reinitialise: lottery tickets, and their control
Training and counting
    Shuffled, finetune, accuracy: batches, plain training, share of right answers
    cost, multiply_accumulates: parameters and multiply-accumulates under masks; with and without zeros
    gated_cost: multiply-accumulates behind gates of a density, with experts
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygen.compress.automatic import AutomaticSettings, RatioSearch, prune_automatically
    from tinygen.compress.counting import cost, gated_cost, multiply_accumulates
    from tinygen.compress.criteria import (
        JointMasks,
        bn_penalty,
        bn_scale,
        bn_taylor,
        ensemble_ranks,
        filter_masks,
        imprint_gains,
        layer_importance,
        layer_prune,
        narrowed,
        proxy_accuracies,
        random_filters,
        random_layers,
        static_channels,
        taylor_feature_map,
        taylor_gate,
        taylor_weight,
        weight_norm,
    )
    from tinygen.compress.group_lasso import GroupLasso
    from tinygen.compress.iterative import prune_iteratively
    from tinygen.compress.lottery import iterative_magnitude_pruning, reinitialise
    from tinygen.compress.magnitude import prune_at_random, prune_by_magnitude
    from tinygen.compress.masking import apply_masks, copy_network, make_permanent, masks_of, sparsity
    from tinygen.compress.masks import FilterMasks, KernelMasks, WeightMasks, prunable
    from tinygen.compress.mint import mint_masks, mint_scores, threshold_for
    from tinygen.compress.n_m import is_n_m, n_m_masks
    from tinygen.compress.obd import prune_by_obd
    from tinygen.compress.surgery import (
        consistent,
        groups,
        masked,
        masked_graph,
        removable_layers,
        remove_layers,
        residual_blocks,
        slim,
        slim_graph,
        unread_filters,
    )
    from tinygen.compress.training import Shuffled, accuracy, finetune

_PLACES = {
    "automatic": ("AutomaticSettings", "RatioSearch", "prune_automatically"),
    "counting": ("cost", "gated_cost", "multiply_accumulates"),
    "criteria": (
        "JointMasks",
        "bn_penalty",
        "bn_scale",
        "bn_taylor",
        "ensemble_ranks",
        "filter_masks",
        "imprint_gains",
        "layer_importance",
        "layer_prune",
        "narrowed",
        "proxy_accuracies",
        "random_filters",
        "random_layers",
        "static_channels",
        "taylor_feature_map",
        "taylor_gate",
        "taylor_weight",
        "weight_norm",
    ),
    "group_lasso": ("GroupLasso",),
    "iterative": ("prune_iteratively",),
    "lottery": ("iterative_magnitude_pruning", "reinitialise"),
    "magnitude": ("prune_at_random", "prune_by_magnitude"),
    "masking": ("apply_masks", "copy_network", "make_permanent", "masks_of", "sparsity"),
    "masks": ("FilterMasks", "KernelMasks", "WeightMasks", "prunable"),
    "mint": ("mint_masks", "mint_scores", "threshold_for"),
    "n_m": ("is_n_m", "n_m_masks"),
    "obd": ("prune_by_obd",),
    "surgery": (
        "consistent",
        "groups",
        "masked",
        "masked_graph",
        "removable_layers",
        "remove_layers",
        "residual_blocks",
        "slim",
        "slim_graph",
        "unread_filters",
    ),
    "training": ("Shuffled", "accuracy", "finetune"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}
__all__ = [
    "AutomaticSettings",
    "FilterMasks",
    "GroupLasso",
    "JointMasks",
    "KernelMasks",
    "RatioSearch",
    "Shuffled",
    "WeightMasks",
    "accuracy",
    "apply_masks",
    "bn_penalty",
    "bn_scale",
    "bn_taylor",
    "consistent",
    "copy_network",
    "cost",
    "ensemble_ranks",
    "filter_masks",
    "finetune",
    "gated_cost",
    "groups",
    "imprint_gains",
    "is_n_m",
    "iterative_magnitude_pruning",
    "layer_importance",
    "layer_prune",
    "make_permanent",
    "masked",
    "masked_graph",
    "masks_of",
    "mint_masks",
    "mint_scores",
    "multiply_accumulates",
    "n_m_masks",
    "narrowed",
    "proxy_accuracies",
    "prunable",
    "prune_at_random",
    "prune_automatically",
    "prune_by_magnitude",
    "prune_by_obd",
    "prune_iteratively",
    "random_filters",
    "random_layers",
    "reinitialise",
    "removable_layers",
    "remove_layers",
    "residual_blocks",
    "slim",
    "slim_graph",
    "sparsity",
    "static_channels",
    "taylor_feature_map",
    "taylor_gate",
    "taylor_weight",
    "threshold_for",
    "unread_filters",
    "weight_norm",
]


def __getattr__(name: str) -> Any:
    """Imports what is asked for only then: MINT and SNACS need scikit-learn, the rest torch alone.

    Raises:
        TinygenError: a package that it needs is not installed.
    """
    import importlib

    from tinygen.extras import optional_imports

    if name not in _PLACE_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    with optional_imports(f"tinygen.compress.{name}"):
        return getattr(importlib.import_module(f"{__name__}.{_PLACE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
