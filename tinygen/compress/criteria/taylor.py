"""How much the loss would change without a filter, to first order.

P. Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019: `taylor_weight` is the sum of
(g w)^2 over a filter's weights, `taylor_gate` (g z)^2 of a gate z = 1 that multiplies the filter's output. P. Molchanov
et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017: `taylor_feature_map`, the
absolute mean of g z over positions, averaged over samples and divided by the layer's Euclidean norm.
Means over batches or samples, in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tinygen.compress.criteria.differentiate import (
    Batches,
    Loss,
    cross_entropy,
    differentiable,
    gradients,
    mean_over,
    no_batch,
    weights,
)
from tinygen.compress.surgery.taps import Taps
from tinygen.compress.surgery.tracing import Example


def taylor_weight(network: nn.Module, data: Batches, loss: Loss = cross_entropy) -> dict[str, Tensor]:
    """Sum of (g w)^2 over each filter's weights, [O] by layer.

    Raises:
        ModelError: there is no batch.
    """
    values = weights(network)
    found = gradients(network, values, data, loss)
    return mean_over(
        {name: (g * values[name].detach()).square().flatten(1).sum(1) for name, g in batch.items()} for batch in found
    )


def taylor_gate(network: nn.Module, example: Example, data: Batches, loss: Loss = cross_entropy) -> dict[str, Tensor]:
    """(dL/dgate)^2 of a gate on each filter's output, behind batch norm and activation; [O] by layer.

    Args:
        example: the network's input, with a batch in front.

    Raises:
        ModelError: there is no batch, or the network does not take the example.
        UnsupportedError: the network cannot be traced.
    """
    return mean_over(
        {name: per_sample.sum(0).square() for name, per_sample in batch.items()}
        for batch in _products(network, example, data, loss)
    )


def taylor_feature_map(
    network: nn.Module, example: Example, data: Batches, loss: Loss = cross_entropy, normalise: bool = True
) -> dict[str, Tensor]:
    """|mean over positions of g z|, the mean over samples, [O] by layer.

    Args:
        normalise: divided by the layer's Euclidean norm, so that layers can be compared.

    Raises:
        ModelError, UnsupportedError: as `taylor_gate`.
    """
    total: dict[str, Tensor] = {}
    samples = 0
    taps: dict[str, int] = {}
    for batch in _products(network, example, data, loss, taps):
        for name, per_sample in batch.items():
            # The loss is a mean over the batch: a sample's own gradient is that many times larger.
            own = (per_sample * len(per_sample) / taps[name]).abs().sum(0)
            total[name] = total[name] + own if name in total else own
        samples += len(next(iter(batch.values())))
    scores = {name: values / samples for name, values in total.items()}
    if not normalise:
        return scores
    return {name: values / values.norm().clamp_min(torch.finfo(values.dtype).tiny) for name, values in scores.items()}


def _products(
    network: nn.Module, example: Example, data: Batches, loss: Loss, positions: dict[str, int] | None = None
) -> Iterator[dict[str, Tensor]]:
    """For each batch the sums of g z over positions, [N, O] by layer; `positions` gets how many each layer has."""
    taps = Taps(network, example)
    seen = 0
    for x, labels in data:
        with differentiable(network):
            # The taps need a gradient even where every weight is frozen.
            output, maps = taps.run(x.detach().clone().requires_grad_(x.is_floating_point()))
            found = torch.autograd.grad(loss(output, labels), [maps[name] for name in taps.names], allow_unused=True)
        products = {}
        for name, g in zip(taps.names, found, strict=True):
            z = maps[name].detach()
            product = torch.zeros_like(z) if g is None else g * z
            products[name] = product.flatten(2).sum(2) if z.dim() > 2 else product
            if positions is not None:
                positions[name] = z[0, 0].numel()
        yield products
        seen += 1
    if not seen:
        raise no_batch()
