"""Pruning criteria: one file each, with its source in the docstring.

Criteria for filters give scores, a tensor [O] by the name of a layer, and the filters with the lowest are removed:
`filter_masks` turns scores into masks, and `tinygen.compress.surgery` removes what they mask. Criteria for layers
(`layer_prune`, `imprint`) give one number for each.
"""

from tinygen.compress.criteria.bn_scale import bn_penalty, bn_scale, bn_taylor
from tinygen.compress.criteria.gradient import gradient
from tinygen.compress.criteria.imprint import imprint_gains, imprint_lengths, proxy_accuracies
from tinygen.compress.criteria.joint_masks import JointMasks
from tinygen.compress.criteria.layer_prune import ensemble_ranks, layer_importance, layer_prune, ranks
from tinygen.compress.criteria.random_scores import random_filters, random_layers, random_scores
from tinygen.compress.criteria.selection import FilterScores, filter_masks
from tinygen.compress.criteria.static_channels import narrowed, static_channels
from tinygen.compress.criteria.taylor import taylor_feature_map, taylor_gate, taylor_weight
from tinygen.compress.criteria.weight_norm import weight_norm

__all__ = [
    "FilterScores",
    "JointMasks",
    "bn_penalty",
    "bn_scale",
    "bn_taylor",
    "ensemble_ranks",
    "filter_masks",
    "gradient",
    "imprint_gains",
    "imprint_lengths",
    "layer_importance",
    "layer_prune",
    "narrowed",
    "proxy_accuracies",
    "random_filters",
    "random_layers",
    "random_scores",
    "ranks",
    "static_channels",
    "taylor_feature_map",
    "taylor_gate",
    "taylor_weight",
    "weight_norm",
]
