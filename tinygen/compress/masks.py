"""Masks: what of a network is kept. True is kept, everywhere.

Filter masks remove whole output channels; layers that read a removed channel ignore it (their kernels for that channel
are zero). Kernel masks remove single connections between an input and an output channel, whole [height, width] kernels
in a convolution and single weights in a dense layer. Weight masks remove single weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tinygen.errors import ModelError
from tinygen.nn.layers import MaskedWeights, QuantConv2d, QuantLinear
from tinygen.nn.pruned import refresh
from tinygen.nn.quantizers.zeros import only

FilterMasks: TypeAlias = Mapping[str, Tensor]
"""By the name of a Conv2d or Linear module: bool [O]."""
KernelMasks: TypeAlias = Mapping[str, Tensor]
"""By the name of a Conv2d or Linear module: bool [O, I], I of one group."""
WeightMasks: TypeAlias = Mapping[str, Tensor]
"""By the name of a Conv2d or Linear module: bool of the weights' shape."""


def prunable(network: nn.Module) -> dict[str, nn.Module]:
    """Convolutions and dense layers by name, in the order in which they were registered."""
    return {name: module for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}


@torch.no_grad()
def used_weights(layer: nn.Module) -> Tensor:
    """The weights a layer computes with (quantized, masked), without gradient; of a switchable one the real ones."""
    if isinstance(layer, (QuantConv2d, QuantLinear)):
        return layer.quantized_weight().detach()
    if isinstance(layer, MaskedWeights):
        return only(layer.weight.detach(), layer.weight_mask)
    refresh(layer)  # an optimiser's step or a state dict has changed the source of masked weights
    return layer.weight.detach()


def check_masks(network: nn.Module, masks: Mapping[str, Tensor], dimensions: int | None) -> None:
    """Checks that masks fit the layers they name.

    Args:
        dimensions: 1 for filter masks, 2 for kernel masks, None for weight masks.

    Raises:
        ModelError: no such layer, another shape, or not bool.
    """
    layers = prunable(network)
    for name, mask in masks.items():
        if name not in layers:
            raise ModelError("no convolution or dense layer", where=name, fix=f"Layers: {', '.join(layers)}.")
        shape = layers[name].weight.shape[:dimensions]
        if mask.dtype != torch.bool or mask.shape != shape:
            raise ModelError(
                f"a mask {mask.dtype} {list(mask.shape)} for weights {list(layers[name].weight.shape)}",
                where=name,
                fix=f"Give torch.bool {list(shape)}, True for what is kept.",
            )
