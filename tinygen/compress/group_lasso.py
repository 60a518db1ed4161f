"""Group lasso: training that shrinks whole kernels, filters or channels to exactly zero.

W. Wen et al., "Learning Structured Sparsity in Deep Neural Networks", NIPS 2016: loss + strength * sum over groups of
||w_g||_2. Its gradient never reaches zero and does not exist there, so the step here is the proximal one: after the
optimiser's step every group is shortened by rate * strength, and is zero when it was no longer than that. Filters and
channels overlap; their steps are taken one after the other, which is not exactly the proximal step of their sum.

Behind a layer with batch normalisation the loss does not depend on the length of a filter, only the penalty does: all
filters shrink together, so only the relative norms of kernels or channels within a filter matter.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from tinygen.compress.ranking import chosen, layers_of
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn.layers import QuantConv2d, QuantLinear

GROUPS = ("kernel", "filter", "channel")


class GroupLasso:
    """Call `step` after each of the optimiser's steps; at the end prune by `masks`.

    Args:
        network: of nn.Conv2d and nn.Linear without masks; quantized layers would hide zeros behind their codes.
        strength: lambda, at least 0.
        groups: one or several of "kernel" (one input and one output channel), "filter" (an output channel) and
            "channel" (all weights that read an input channel).
        exclude: names of layers that are left alone.

    Raises:
        UnsupportedError: unknown groups, a negative strength, quantized or masked layers.
        ModelError: `exclude` names no layer, or all.
    """

    def __init__(
        self, network: nn.Module, strength: float, groups: Collection[str] = ("kernel",), exclude: Collection[str] = ()
    ) -> None:
        if not 0.0 <= strength < float("inf"):
            raise UnsupportedError(f"strength {strength}", where="GroupLasso", fix="Use 0 or more.")
        self.strength = strength
        self.groups = tuple(chosen("group", group, GROUPS) for group in groups)
        self.layers = layers_of(network, exclude)
        for name, layer in self.layers.items():
            if isinstance(layer, (QuantConv2d, QuantLinear)) or not isinstance(layer.weight, nn.Parameter):
                fix = "Train the float network, then apply masks and convert."
                raise UnsupportedError("group lasso on a quantized or masked layer", where=name, fix=fix)

    def penalty(self) -> Tensor:
        """strength * sum of ||w_g||, for reports: `step` is its proximal step, do not add it to the loss as well."""
        lengths = [_lengths(layer.weight, group).sum() for layer in self.layers.values() for group in self.groups]
        return self.strength * torch.stack(lengths).sum()

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """w_g <- w_g max(0, 1 - rate * strength / ||w_g||) for every group; `rate` is the optimiser's."""
        for layer in self.layers.values():
            for group in self.groups:
                lengths = _lengths(layer.weight, group)
                # Zero groups stay zero: 1 - x / 0 would be -inf, and 0 * -inf no number.
                layer.weight.mul_(torch.where(lengths > 0, 1.0 - rate * self.strength / lengths, 0.0).clamp_min(0.0))

    @torch.no_grad()
    def masks(self) -> dict[str, Tensor]:
        """Kernel masks [O, I] without the kernels that are exactly zero.

        Raises:
            ModelError: every kernel of a layer is gone, so that it would give nothing but its bias.
        """
        found = {name: layer.weight.reshape(*layer.weight.shape[:2], -1).any(2) for name, layer in self.layers.items()}
        for name, kept in found.items():
            if not bool(kept.any()):
                raise ModelError("group lasso has removed all of it", where=name, fix="Use a lower strength.")
        return found


def _lengths(weights: Tensor, group: str) -> Tensor:
    """||w_g|| of each group, shaped to multiply the weights."""
    kept = {"kernel": (0, 1), "filter": (0,), "channel": (1,)}[group]
    summed = [dimension for dimension in range(weights.dim()) if dimension not in kept]
    return torch.linalg.vector_norm(weights, dim=summed, keepdim=True) if summed else weights.abs()
