"""Weight quantizers of layers that lose filters and inputs."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from tinygen.nn.quantizers import WeightQuantizer


def sliced_quantizer(quantizer: WeightQuantizer, weight: Tensor, rows: Tensor, columns: Tensor) -> WeightQuantizer:
    """A copy for the weights [rows][:, columns]; state of the weights' shape (a codebook's indices) goes with them."""
    result = copy.deepcopy(quantizer)
    for name, value in [*result.named_parameters(recurse=False), *result.named_buffers(recurse=False)]:
        if value.shape == weight.shape:
            kept = value.detach()[rows][:, columns].clone()
            setattr(result, name, nn.Parameter(kept) if isinstance(value, nn.Parameter) else kept)
    return result
