"""Weight quantizers of layers that lose filters and inputs."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import IntegerEncoding
from tinygen.nn.quantizers import WeightQuantizer
from tinygen.nn.quantizers.base import WeightCodes


def sliced_quantizer(quantizer: WeightQuantizer, weight: Tensor, rows: Tensor, columns: Tensor) -> WeightQuantizer:
    """A copy for the weights [rows][:, columns]; state of the weights' shape (a codebook's indices) goes with them."""
    result = copy.deepcopy(quantizer)
    for name, value in [*result.named_parameters(recurse=False), *result.named_buffers(recurse=False)]:
        if value.shape == weight.shape:
            kept = value.detach()[rows][:, columns].clone()
            setattr(result, name, nn.Parameter(kept) if isinstance(value, nn.Parameter) else kept)
    return result


class MaskedQuantizer(WeightQuantizer):
    """What another quantizer makes of the kept weights, zeros for the others.

    Args:
        inner: the quantizer for weights of the kept shape.
        rows: kept filters, int64.
        columns: kept slices of each filter, int64.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, inner: WeightQuantizer, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def _kept(self, weights: Tensor) -> Tensor:
        return weights[self.rows][:, self.columns]

    def _spread(self, kept: Tensor, shape: torch.Size) -> Tensor:
        filters = kept.new_zeros((len(self.rows), *shape[1:])).index_copy(1, self.columns, kept)
        return kept.new_zeros(shape).index_copy(0, self.rows, filters)

    def forward(self, weights: Tensor) -> Tensor:
        return self._spread(self.inner(self._kept(weights)), weights.shape)

    def parts(self, weights: Tensor) -> WeightCodes:
        inner = self.inner.parts(self._kept(weights))
        scale = inner.scale
        if scale.dim():
            scale = torch.ones((len(weights), *scale.shape[1:]), dtype=scale.dtype, device=scale.device)
            scale = scale.index_copy(0, self.rows, inner.scale)
        codes, integers = (self._spread(part, weights.shape) for part in (inner.codes, inner.integers))
        return WeightCodes(codes, integers, scale)

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return self.inner.encoding(self._kept(weights), scale, axis)

    def codes(self, weights: Tensor) -> tuple[np.ndarray, IntegerEncoding]:
        """As of any quantizer, where there is a code for zero.

        Raises:
            UnsupportedError: there is none.
        """
        codes, encoding = super().codes(weights)
        integers = encoding.integers(codes)
        expected = self.parts(weights.detach()).integers.cpu().numpy()
        if not np.array_equal(integers, expected):
            raise UnsupportedError(
                f"weights of {encoding} have no code for zero", where=type(self.inner).__name__,
                fix="Export the slim network rather than the masked one.",
            )  # fmt: skip
        return codes, encoding
