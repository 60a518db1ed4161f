"""The scale of the batch norm behind a filter.

Z. Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017: train with an L1 penalty
on the scales (`bn_penalty`), then the filters of the smallest |gamma| go, over all layers together. `bn_taylor` weighs
gamma by its gradient; LayerPrune names it in Figures 5.4 and 5.5 (S. Elkerdawy, thesis, 2022) without a formula, read
here as (gamma dL/dgamma)^2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinygen.compress.criteria.differentiate import Batches, Loss, cross_entropy, gradients, mean_over
from tinygen.compress.surgery.taps import Taps
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import UnsupportedError


def bn_scale(network: nn.Module, example: Example) -> dict[str, Tensor]:
    """|gamma| of each filter, [O] by layer; of layers with a batch norm behind them.

    Raises:
        UnsupportedError: no layer has one, or the network cannot be traced.
        ModelError: the network does not take the example.
    """
    return {name: gamma.detach().abs() for name, gamma in scales(network, example).items()}


def bn_taylor(network: nn.Module, example: Example, data: Batches, loss: Loss = cross_entropy) -> dict[str, Tensor]:
    """(gamma dL/dgamma)^2 of each filter, [O] by layer, the mean over batches; in evaluation mode.

    Raises:
        UnsupportedError, ModelError: as `bn_scale`; or there is no batch.
    """
    gammas = scales(network, example)
    found = gradients(network, gammas, data, loss)
    return mean_over({name: (g * gammas[name].detach()).square() for name, g in batch.items()} for batch in found)


def bn_penalty(network: nn.Module) -> Tensor:
    """The sum of |gamma| over all batch norms of images: add lambda times it to the loss (Slimming, Eq. 1)."""
    gammas = [part.weight for part in network.modules() if isinstance(part, nn.BatchNorm2d) and part.affine]
    return torch.stack([gamma.abs().sum() for gamma in gammas]).sum() if gammas else torch.zeros(())


def scales(network: nn.Module, example: Example) -> dict[str, Tensor]:
    """The scales of batch norms by the layer in front of them."""
    norms = Taps(network, example).norms
    found = {name: network.get_submodule(norm).weight for name, norm in norms.items()}
    found = {name: gamma for name, gamma in found.items() if gamma is not None}
    if not found:
        raise UnsupportedError(
            "no batch norm with a scale right behind a layer",
            where=type(network).__name__,
            fix="Use another criterion, or put nn.BatchNorm2d behind the convolutions.",
        )
    return found
