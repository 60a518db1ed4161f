"""Networks with masks on weights: torch.nn.utils.prune's on float layers, `weight_mask` on quantized ones."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import prune


def mask_of(layer: nn.Module) -> Tensor | None:
    """Which weights a layer keeps, bool of their shape; None where it has no mask."""
    mask = getattr(layer, "weight_mask", None)
    return None if mask is None else mask.detach().bool()


def masked_tensors(module: nn.Module) -> list[str]:
    """Names of the module's own tensors that torch.nn.utils.prune masks."""
    hooks = module._forward_pre_hooks.values()
    return [str(hook._tensor_name) for hook in hooks if isinstance(hook, prune.BasePruningMethod)]


def is_pruned(network: nn.Module) -> bool:
    """Whether torch.nn.utils.prune masks anything in it."""
    return any(masked_tensors(module) for module in network.modules())


@torch.no_grad()
def refresh(network: nn.Module) -> None:
    """Recomputes masked float weights as the next forward pass will: loading a state dict leaves the old ones in place.

    The new tensor is a leaf without an autograd history, so that the network can be copied (torch refuses to copy
    others).
    """
    for module in network.modules():
        for name in masked_tensors(module):
            setattr(module, name, getattr(module, f"{name}_orig").detach() * getattr(module, f"{name}_mask"))


def copy_network(network: nn.Module) -> nn.Module:
    """A deep copy, masks included."""
    refresh(network)
    return copy.deepcopy(network)


def bake_masks(network: nn.Module) -> None:
    """Float layers get plain weights again, zero where they were masked; in place.

    Masks of quantized layers stay, since not every encoding has a zero to put into the weights.
    """
    refresh(network)
    for module in network.modules():
        for name in masked_tensors(module):
            prune.remove(module, name)
