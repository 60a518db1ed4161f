"""Masks on the weights of a network: applied, read back, counted, made permanent.

A mask holds by construction: float layers compute their weights from it in every forward pass
(torch.nn.utils.prune), and so do tinygen.nn's quantized layers (`weight_mask`). Momentum and weight decay may change
masked weights, but no computation uses them, and they get no gradient. Optimisers made before stay valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from tinygen.compress.masks import check_masks, prunable, used_weights
from tinygen.errors import ModelError
from tinygen.nn.layers import MaskedWeights
from tinygen.nn.pruned import bake_masks, copy_network, mask_of, masked_tensors, refresh

__all__ = ["Sparsity", "apply_masks", "copy_network", "make_permanent", "masks_of", "sparsity", "while_masked", "whole"]


def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Puts masks on layers, in place; a layer that has one already gets the new one instead.

    Copy such a network with `copy_network`: torch refuses copy.deepcopy once masked float layers have run.

    Args:
        network: of nn.Conv2d and nn.Linear, or tinygen.nn's quantized or switchable layers.
        masks: by a layer's name, bool: kernel masks [O, I], or weight masks of the weights' shape.

    Raises:
        ModelError: no such layer, another shape, or not bool.
    """
    layers = prunable(network)
    for name, mask in masks.items():
        kernels = mask.dim() == 2
        check_masks(network, {name: mask}, 2 if kernels else None)
        layer = layers[name]
        mask = whole(mask, layer.weight)
        if isinstance(layer, MaskedWeights):
            layer.set_weight_mask(mask)
        elif "weight" in masked_tensors(layer):
            layer.weight_mask.copy_(mask)
            refresh(layer)
        else:
            prune.custom_from_mask(layer, "weight", mask)
            refresh(layer)


@contextmanager
def while_masked(layer: nn.Module, mask: Tensor) -> Iterator[None]:
    """A context in which a kernel or weight mask is applied to a layer; the layer is restored afterwards.

    Args:
        layer: convolution or dense layer; a mask that it has holds as well.
        mask: bool, [O, I] or of the weights' shape.
    """
    kept = whole(mask, layer.weight)
    if isinstance(layer, MaskedWeights):
        before = layer.weight_mask
        layer.set_weight_mask(kept if before is None else kept & before)
        try:
            yield
        finally:
            layer.set_weight_mask(before)
        return
    weight = layer._parameters.get("weight_orig", layer.weight)
    saved = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.mul_(kept)
        yield
    finally:
        with torch.no_grad():
            weight.copy_(saved)


def whole(mask: Tensor, weights: Tensor) -> Tensor:
    """A kernel mask [O, I] as a weight mask, bool of the weights' shape, on their device."""
    inner = (1,) * (weights.dim() - mask.dim())
    return mask.reshape(*mask.shape, *inner).expand(weights.shape).to(weights.device, copy=True)


def masks_of(network: nn.Module) -> dict[str, Tensor]:
    """Weight masks by the name of the layer, for the layers that have one; bool, True is kept."""
    found = {name: mask_of(layer) for name, layer in prunable(network).items()}
    return {name: mask.clone() for name, mask in found.items() if mask is not None}


def make_permanent(network: nn.Module) -> nn.Module:
    """Float layers get plain weights again, zero where they were masked; in place, and given back.

    Do not train it further: nothing keeps the zeros at zero. Quantized layers keep their masks, since a binary weight,
    say, has no zero.
    """
    bake_masks(network)
    return network


@dataclass(frozen=True)
class Sparsity:
    """Shares of weights that are exactly zero.

    Attributes:
        layers: by the name of a convolution or dense layer, 0 to 1.
        total: of all their weights together. Biases and batch norm do not count.
    """

    layers: Mapping[str, float]
    total: float


@torch.no_grad()
def sparsity(network: nn.Module) -> Sparsity:
    """Shares of zero weights, as the network computes with them (quantized where it quantizes).

    Raises:
        ModelError: the network has no convolution and no dense layer.
    """
    refresh(network)
    zeros, counts = {}, {}
    for name, layer in prunable(network).items():
        weights = used_weights(layer)
        zeros[name], counts[name] = int((weights == 0).sum()), weights.numel()
    if not counts:
        raise ModelError("no convolution or dense layer", where=type(network).__name__, fix="Nothing to count.")
    return Sparsity({name: zeros[name] / counts[name] for name in counts}, sum(zeros.values()) / sum(counts.values()))
