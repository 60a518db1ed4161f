"""Sign: one-bit activations."""

from __future__ import annotations

import torch
from torch import Tensor

from tinygen.ir.encodings import Binary, IntegerEncoding
from tinygen.nn.quantizers.base import ActivationQuantizer


class Sign(ActivationQuantizer):
    """sign(x), with sign(0) = +1 (and sign(-0.0) = +1); the gradient passes where |x| <= 1.

    I. Hubara et al., "Binarized Neural Networks", NIPS 2016. The only boundary is 0.
    """

    def range(self, x: Tensor | None = None) -> Tensor:
        return torch.tensor((-1.0, 1.0), dtype=torch.float64, device=None if x is None else x.device)

    def thresholds(self, span: Tensor) -> Tensor:
        return torch.zeros(1, dtype=torch.float64, device=span.device)

    def levels(self, span: Tensor) -> tuple[Tensor, Tensor]:
        return span, torch.ones((), device=span.device)

    def encoding(self) -> IntegerEncoding:
        return Binary((1.0,))
