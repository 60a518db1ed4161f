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
    masks = prune(net, 0.6, level=level, scope=scope, exclude=["0"], empty_filters=True)
    apply_masks(net, masks)
    found = sparsity(net)
    largest = 9 / (net[3].weight.numel() + net[8].weight.numel())
    removed = found.total * sum(layer.weight.numel() for layer in (net[0], net[3], net[8]))
    assert found.layers["0"] == 0.0
    share = removed / (net[3].weight.numel() + net[8].weight.numel())
    assert 0.6 <= share < 0.6 + (2 if scope == "layer" else 1) * largest


CHAIN = {"first": (3, 8, 1), "depthwise": (8, 8, 8), "point": (8, 12, 1), "single": (1, 4, 1), "last": (4, 6, 1)}


class Chain(nn.Module):
    """Registered in another order than they run."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(6, 10)
        for name, (inputs, outputs, groups) in reversed(CHAIN.items()):
            setattr(self, name, nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups))

    def forward(self, x):  # type: ignore[no-untyped-def]
        x = self.point(self.depthwise(self.first(x))).mean(1, keepdim=True)
        return self.dense(self.last(self.single(x)).mean((2, 3)))


@pytest.mark.parametrize("prune", [prune_by_magnitude, prune_at_random])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_layers_whose_filters_have_one_kernel_stay_whole(prune, scope: str) -> None:  # type: ignore[no-untyped-def]
    """As `blocks.connected` leaves them: the first that runs, in groups, of one channel; unless told otherwise."""
    net = Chain()
    assert set(prune(net, 0.5, level="kernel", scope=scope)) == {"point", "last", "dense"}
    assert set(prune(net, 0.5, level="kernel", scope=scope, exclude=["last"])) == {"point", "dense"}
    everything = set(prune(net, 0.5, level="kernel", scope=scope, empty_filters=True))
    assert everything == {*CHAIN, "dense"} == set(prune(net, 0.5, scope=scope))
    assert not prune(net, 1.0, level="kernel", scope=scope, empty_filters=True)["point"].any()
    with pytest.raises(ModelError, match="no layer with connections to rank"):
        prune(net, 0.5, level="kernel", scope=scope, exclude=["point", "last", "dense"])


@pytest.mark.parametrize("prune", [prune_by_magnitude, prune_at_random])
@pytest.mark.parametrize("level", ["weight", "kernel"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_filter_keeps_its_best(prune, level: str, scope: str) -> None:  # type: ignore[no-untyped-def]
    """However small: one filter's weights are a thousandth of the others', and it keeps one all the same."""
    net = Chain()
    with torch.no_grad():
        net.point.weight[3] /= 1000
        net.dense.weight[2] /= 1000
    masks = prune(net, 0.7, level=level, scope=scope)
    assert all(bool(mask.flatten(1).any(1).all()) for mask in masks.values())
    if prune is prune_by_magnitude:
        best = magnitude_scores(net, level)["dense"][2].argmax()
        assert int(masks["dense"][2].sum()) == 1 and bool(masks["dense"][2][best])
        told = prune(net, 0.7, level=level, scope="global", empty_filters=True)
        assert not told["dense"][2].any()


def test_a_share_that_takes_last_kernels_is_refused() -> None:
    """Of 6 inputs 5 can go; of the layers together the most that leaves each filter one."""
    net = Chain()
    with pytest.raises(UnsupportedError, match=r"(?s)dense: 90.0% of the weights: 83.3% can go.*empty_filters=True"):
        prune_by_magnitude(net, 0.9, level="kernel", scope="layer", exclude=["point", "last"])
    masks = prune_by_magnitude(net, 0.83, level="kernel", scope="layer", exclude=["point", "last"])
    assert masks["dense"].sum(1).tolist() == [1] * 10
    with pytest.raises(UnsupportedError, match=r"point, last, dense: 99\.0%"):
        prune_by_magnitude(net, 0.99, level="kernel", scope="global")


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
