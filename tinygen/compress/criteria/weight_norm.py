"""The norm of a filter's weights.

H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1: the sum of absolute weights (L1). Among
LayerPrune's criteria (S. Elkerdawy, thesis, University of Alberta, 2022, Eq. 5.1) it is the Euclidean norm (L2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinygen.compress.masks import prunable
from tinygen.errors import UnsupportedError
from tinygen.nn.pruned import refresh


@torch.no_grad()
def weight_norm(network: nn.Module, order: int = 1) -> dict[str, Tensor]:
    """||w||_1 or ||w||_2 of each filter, [O] by layer, without its bias; of the real weights in quantized layers.

    Args:
        order: 1 or 2.

    Raises:
        UnsupportedError: another order.
    """
    if order not in (1, 2):
        raise UnsupportedError(f"a norm of order {order}", where="weight_norm", fix="Use 1 or 2.")
    refresh(network)
    return {
        name: torch.linalg.vector_norm(layer.weight.flatten(1), ord=order, dim=1)
        for name, layer in prunable(network).items()
    }
