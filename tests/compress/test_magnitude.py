"""Magnitude pruning and its random baseline."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.compress.test_masking import network
from tinygen.compress.magnitude import magnitude_scores, prune_at_random, prune_by_magnitude, random_weight_scores
from tinygen.compress.masking import apply_masks, sparsity
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn import convert


def test_scores_are_sizes() -> None:
    net = network()
    weights, kernels = magnitude_scores(net), magnitude_scores(net, "kernel")
    assert torch.equal(weights["3"], net[3].weight.detach().abs())
    assert torch.equal(kernels["3"], net[3].weight.detach().abs().mean((2, 3)))
    assert torch.equal(kernels["8"], weights["8"])


@pytest.mark.parametrize("prune", [prune_by_magnitude, prune_at_random])
@pytest.mark.parametrize("level", ["weight", "kernel"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_share_is_reached(prune, level: str, scope: str) -> None:  # type: ignore[no-untyped-def]
    net = network()
    masks = prune(net, 0.6, level=level, scope=scope, exclude=["0"])
    apply_masks(net, masks)
    found = sparsity(net)
    largest = 9 / (net[3].weight.numel() + net[8].weight.numel())
    removed = found.total * sum(layer.weight.numel() for layer in (net[0], net[3], net[8]))
    assert found.layers["0"] == 0.0
    share = removed / (net[3].weight.numel() + net[8].weight.numel())
    assert 0.6 <= share < 0.6 + (2 if scope == "layer" else 1) * largest


def test_global_magnitudes_go_in_order() -> None:
    net = network()
    masks = prune_by_magnitude(net, 0.5)
    sizes = magnitude_scores(net)
    removed = torch.cat([sizes[name][~mask] for name, mask in masks.items()])
    left = torch.cat([sizes[name][mask] for name, mask in masks.items()])
    assert removed.max() <= left.min()


def test_quantized_weights_count_as_what_they_are_used_as() -> None:
    net = convert(network(), "ternary")
    assert set(torch.unique(magnitude_scores(net)["3"][0]).tolist()).issuperset({0.0})


def test_random_scores_are_reproducible() -> None:
    first, second, other = (random_weight_scores(network(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first["0"], second["0"]) and not torch.equal(first["0"], other["0"])


def test_bad_input() -> None:
    with pytest.raises(UnsupportedError, match=r"level 'filter'\nUse one of weight, kernel"):
        magnitude_scores(network(), "filter")
    with pytest.raises(ModelError, match=r"no layer 7 to exclude\nLayers: 0, 3, 8"):
        prune_by_magnitude(network(), 0.5, exclude=["7"])
    with pytest.raises(ModelError, match="no layer is left to prune"):
        prune_by_magnitude(nn.Sequential(nn.Linear(2, 2)), 0.5, exclude=["0"])
