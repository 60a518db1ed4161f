"""The size of the gradient: filters whose weights have the smallest gradients are removed first.

The baseline that first-order (Taylor) criteria are compared with: their term |g w| without the weight.
"""

from __future__ import annotations

from torch import Tensor, nn

from tinygen.compress.criteria.differentiate import Batches, Loss, cross_entropy, gradients, mean_over, weights


def gradient(network: nn.Module, data: Batches, loss: Loss = cross_entropy) -> dict[str, Tensor]:
    """Sum of |dL/dw| over each filter, [O] by layer, the mean over batches; in evaluation mode.

    Raises:
        ModelError: there is no batch.
    """
    found = gradients(network, weights(network), data, loss)
    return mean_over({name: g.abs().flatten(1).sum(1) for name, g in batch.items()} for batch in found)
