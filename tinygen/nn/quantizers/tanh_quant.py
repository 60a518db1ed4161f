"""TanhQuant: DoReFa's weight quantizer, and its use on activations (5.4, 6.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from tinygen.ir.encodings import Binary, IntegerEncoding, Levels
from tinygen.nn.quantizers.base import WeightCodes, WeightQuantizer, check_bits, round_half_up
from tinygen.nn.quantizers.ranges import MOMENTUM, RangedQuantizer

_FINEST = 8
"""Bits of the codes that those of 4, 2 and 1 bit are made of."""


def tanh_codes(x: Tensor, bits: int) -> Tensor:
    """The code q of 2 Q(tanh x / (2 max|tanh x|) + 1/2) - 1 = (2q - (2^k - 1)) / (2^k - 1), whole tensor, float64.

    All zeros take the code of zero, 2^(k-1): the upper of the two beside zero, as rounding half up gives it. Codes of
    4, 2 and 1 bit are rounded from those of 8, which is the same (`tinygen.ir.nesting`) except for float64 rounding,
    which therefore has no effect: codes always nest, and the top bit is the sign.
    """
    if bits < _FINEST and _FINEST % bits == 0:
        step = (2**_FINEST - 1) // (2**bits - 1)
        return torch.floor((tanh_codes(x, _FINEST) + (step - 1) // 2) / step)
    squashed = torch.tanh(x.double())
    top = squashed.abs().max()
    steps = 2**bits - 1
    codes = round_half_up(steps * (squashed / (2.0 * torch.where(top > 0, top, 1.0)) + 0.5))
    # A tiny negative value and one half add up to one half.
    return torch.where((squashed < 0) & (codes > steps // 2), steps // 2, codes)


def odd_encoding(bits: int, scale: tuple[float, ...], axis: int | None = None) -> IntegerEncoding:
    """Codes q that stand for scale * (2q - (2^bits - 1)): Binary for one bit, else signed Levels."""
    return Binary(scale, axis) if bits == 1 else Levels(scale, axis, bits=bits, signed=True)


class TanhQuant(WeightQuantizer):
    """TanhQuant(w) = 2 Q(tanh w / (2 max|tanh w|) + 1/2) - 1 (5.4), the maximum over the tensor.

    The values are odd multiples of 1/(2^k - 1), from -1 to 1. One bit is sign(w) with sign(0) = +1. Gradient: of
    tanh w / max|tanh w|, the maximum included (Q passes it whole, since its argument lies in [0, 1]).

    Args:
        bits: k, 1 to 8.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = check_bits("TanhQuant", bits, 1, 8)

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        codes = tanh_codes(weights, self.bits)
        steps = 2**self.bits - 1
        return WeightCodes(codes, 2 * codes - steps, torch.tensor(1.0 / steps, device=weights.device))

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return odd_encoding(self.bits, scale, axis)

    def surrogate(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        squashed = torch.tanh(weights)
        return squashed / squashed.abs().max().clamp_min(torch.finfo(weights.dtype).tiny)


class TanhQuantActivation(RangedQuantizer):
    """TanhQuant (5.4) on activations of both signs; one bit is sign(x).

    In training the maximum is that of the batch; in evaluation the running one (see RangedQuantizer), and values beyond
    it take the outermost code. Boundaries: atanh(M (2j - 2^k) / (2^k - 1)), j = 1..2^k - 1; the middle one is 0, and 0
    belongs to the upper code. Gradient: of tanh x / M, M taken as a constant, where |tanh x| <= M.

    Args:
        bits: k, 1 to 8.
        momentum: of the running maximum.
    """

    def __init__(self, bits: int, momentum: float = MOMENTUM) -> None:
        super().__init__(momentum)
        self.bits = check_bits("TanhQuantActivation", bits, 1, 8)

    def batch_range(self, x: Tensor) -> Tensor:
        top = torch.tanh(x.double()).abs().max()
        top = torch.where(top > 0, top, torch.inf)
        return torch.stack((-top, top))

    def thresholds(self, span: Tensor) -> Tensor:
        steps = 2**self.bits - 1
        odd = torch.arange(2 - 2**self.bits, 2**self.bits, 2, dtype=torch.float64, device=span.device)
        return torch.atanh(span[1] * odd / steps)

    def levels(self, span: Tensor) -> tuple[Tensor, Tensor]:
        steps = 2**self.bits - 1
        integers = torch.arange(-steps, steps + 1, 2, dtype=torch.float64, device=span.device)
        return integers, torch.tensor(1.0 / steps, device=span.device)

    def encoding(self) -> IntegerEncoding:
        return odd_encoding(self.bits, (float(self.levels(self.range())[1]),))

    def surrogate(self, x: Tensor, span: Tensor) -> Tensor:
        top = span[1].to(x.dtype).clamp_min(torch.finfo(x.dtype).tiny)
        return torch.clamp(torch.tanh(x) / top, -1.0, 1.0)
