"""Pruned networks to integers: tinygen.nn's by every recipe against torch, float ones to int8 with exact zeros."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.frontends.torch_nn.networks import WEIGHTS, body, compare_in_c, float_network, images, like_trained
from tests.support.differential import Board
from tests.support.tally import INPUTS, OTHER_TOP
from tests.support.torch_oracle import Compared, compare_with_torch
from tinygen import export
from tinygen.compress.masking import apply_masks, copy_network, make_permanent, masks_of
from tinygen.compress.masks import prunable
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_mac import scaled_weights, weight_integers
from tinygen.nn import RECIPES, convert

torch.set_num_threads(1)


def random_masks(network: nn.Module, share: float, kernels: bool, seed: int = 0) -> dict[str, Tensor]:
    """Masks that keep about this share, at least one filter of each layer wholly removed."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name, layer in prunable(network).items():
        shape = layer.weight.shape[:2] if kernels else layer.weight.shape
        masks[name] = torch.rand(shape, generator=generator) < share
        masks[name][0] = False
    return masks


def _weights(graph: Graph) -> list[np.ndarray]:
    """Integers of the weights of each layer, kernel scales included, output channels first."""
    kinds = (Conv2D, FullyConnected)
    nodes = [node for node in graph.nodes() if isinstance(node.op, kinds)]
    return [scaled_weights(n, weight_integers(n)) if isinstance(n.op, kinds[:2]) else weight_integers(n) for n in nodes]


def _zeros_are_those_of_the_masks(graph: Graph, masks: Mapping[str, Tensor]) -> None:
    weights = _weights(graph)
    assert len(weights) == len(masks) > 0
    for found, kept in zip(weights, masks.values(), strict=True):
        # Dense layers behind a flattening have their columns in another order.
        image = kept.numpy() if kept.dim() == 2 else np.moveaxis(kept.numpy(), 1, -1)
        assert not found[~image].any() if kept.dim() == 4 else (found != 0).sum() <= kept.sum()
        assert not found[0].any()


def _masked(recipe: str, kernels: bool, label: str, name: str = "m") -> Compared:
    x = images(64, 3, 8, 8)
    network = float_network()
    apply_masks(network, random_masks(network, 0.4, kernels))
    network = like_trained(convert(network, recipe), x)
    found = compare_with_torch(network, x, label, name)
    _zeros_are_those_of_the_masks(found.graph, masks_of(network))
    return found


@pytest.mark.parametrize(
    "kernels", [pytest.param(True, id="kernels", marks=pytest.mark.long), pytest.param(False, id="weights")]
)
def test_masked_recipes(kernels: bool) -> None:
    label = "nn: masked recipes"
    for recipe in RECIPES:
        _masked(recipe, kernels, label)
    assert OTHER_TOP[label] <= 0.001 * INPUTS[label]


@pytest.mark.long
def test_masked_recipescompare_in_c() -> None:
    """Encodings that only pruned weights have: one bit with scalings per kernel and 0, odd integers and 0."""
    found = [_masked(recipe, False, "nn: masked recipes", f"m{i}") for i, recipe in enumerate(("apsq", "w2a2"))]
    compare_in_c(found, "nn: masked recipes in C")


@pytest.mark.long
@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "weights"])
def test_all_masked_recipescompare_in_c(kernels: bool) -> None:
    label = "nn: masked recipes in C"
    compare_in_c([_masked(recipe, kernels, label, f"m{i}") for i, recipe in enumerate(RECIPES)], label, Board.SHARE)


@pytest.mark.long
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_masked_quantizers(share: float) -> None:
    """Every weight quantizer, from single weights pruned to whole layers gone."""
    label = f"nn: masked quantizers {share}"
    found = []
    for i, weights in enumerate(WEIGHTS):
        torch.manual_seed(1)
        network, x = body(weights, "int8-relu"), images(12, 3, 7, 7)
        apply_masks(network, random_masks(network, share, kernels=bool(i % 2), seed=i))
        found.append(compare_with_torch(like_trained(network, x, i), x, label, f"m{i}"))
    compare_in_c(found, label, Board.SHARE)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "weights"])
def test_masked_float_networks_become_int8_with_exact_zeros(kernels: bool) -> None:
    network, x = float_network(), images(16, 3, 8, 8)
    masks = random_masks(network, 0.4, kernels)
    apply_masks(network, masks)
    network.train()
    network(x).sum().backward()  # weights are results of operators now, which torch cannot copy
    network.eval()
    graph = export(network, x[:1], calibration=x)
    _zeros_are_those_of_the_masks(graph, masks_of(network))
    assert len(masks_of(network)) == 4, "the module itself keeps its masks"
    permanent = make_permanent(copy_network(network))
    assert not masks_of(permanent) and torch.equal(permanent(x), network(x))
    same = export(permanent, x[:1], calibration=x)
    assert all(np.array_equal(a, b) for a, b in zip(_weights(graph), _weights(same), strict=True))


def test_the_int8_graph_of_a_masked_network_is_that_of_one_with_zeros() -> None:
    """Torch's own zeros, without any mask, as the oracle."""
    network, x = float_network().eval(), images(16, 3, 8, 8)
    plain = copy.deepcopy(network)
    masks = random_masks(network, 0.5, kernels=False, seed=4)
    apply_masks(network, masks)
    with torch.no_grad():
        for name, layer in prunable(plain).items():
            layer.weight.mul_(masks[name])
    first, second = (export(net, x[:1], calibration=x) for net in (network, plain))
    feed = np.zeros((1, 8, 8, 3), np.int8) + np.arange(3, dtype=np.int8)
    assert all(np.array_equal(a, b) for a, b in zip(evaluate(first, [feed]), evaluate(second, [feed]), strict=True))
    assert [t.encoding for t in first.tensors.values()] == [t.encoding for t in second.tensors.values()]
