"""ReLUQuant: unsigned activations (5.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import IntegerEncoding, Levels
from tinygen.nn.quantizers.base import UniformActivation, check_bits


class ReLUQuant(UniformActivation):
    """ReLUQuant(x) = Q(clip(x, 0, 1)) (5.5), in the place of a ReLU.

    Boundaries: (2j - 1) / (2 (2^k - 1)), j = 1..2^k - 1; a value on one belongs to the upper code. The gradient
    passes where 0 <= x <= maximum.

    Args:
        bits: k, 2 to 8. (One bit would be 0 and 1, which no encoding holds; `Sign` has -1 and 1.)
        maximum: m in m Q(clip(x / m, 0, 1)), rounded to float32; the thesis has 1.
    """

    def __init__(self, bits: int, maximum: float = 1.0) -> None:
        super().__init__()
        self.bits = check_bits("ReLUQuant", bits, 2, 8)
        if not 0.0 < maximum < float("inf"):
            raise UnsupportedError(f"maximum {maximum}", where="ReLUQuant", fix="Use a positive finite maximum.")
        self.maximum = maximum

    def range(self, x: Tensor | None = None) -> Tensor:
        device = None if x is None else x.device
        return torch.tensor((0.0, self.maximum), device=device).double()

    def thresholds(self, span: Tensor) -> Tensor:
        steps = 2**self.bits - 1
        halves = torch.arange(1, 2 * steps, 2, dtype=torch.float64, device=span.device)
        return span[1] * halves / (2 * steps)

    def position(self, x: Tensor, span: Tensor) -> Tensor:
        steps = 2**self.bits - 1
        # In place from here on: allocating tensors of float64 costs more than the arithmetic.
        halves = x.to(torch.float64, copy=True).mul_(2 * steps).div_(span[1])
        return halves.add_(1.0).mul_(0.5).floor_().clamp_(0, steps)

    def levels(self, span: Tensor) -> tuple[Tensor, Tensor]:
        steps = 2**self.bits - 1
        return torch.arange(2**self.bits, dtype=torch.float64, device=span.device), (span[1] / steps).float()

    def encoding(self) -> IntegerEncoding:
        return Levels((float(self.levels(self.range())[1]),), bits=self.bits, signed=False)
