"""8-bit weights and activations, for first and last layers and for whole int8 networks."""

from __future__ import annotations

import torch
from torch import Tensor

from tinygen.ir.encodings import Affine, IntegerEncoding
from tinygen.nn.quantizers.base import UniformActivation, WeightCodes, WeightQuantizer, channel_view, round_half_up
from tinygen.nn.quantizers.ranges import MOMENTUM, RangedQuantizer


class Symmetric8(WeightQuantizer):
    """int8 weights -127..127 with one scale per output channel, max|w| / 127; the gradient passes unchanged."""

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        top = weights.double().abs().flatten(1).amax(1)
        # A channel without weights may have any scale: it takes the layer's largest, which is of its neighbours' size.
        instead = torch.where(top.max() > 0, top.max(), 127.0)
        scale = (torch.where(top > 0, top, instead) / 127.0).float().clamp_min(torch.finfo(torch.float32).tiny)
        scale = channel_view(scale, weights)
        codes = round_half_up(weights.double() / scale.double()).clamp(-127, 127)
        return WeightCodes(codes, codes, scale)

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return Affine("int8", scale, (0,) * len(scale), axis)


class Affine8(RangedQuantizer, UniformActivation):
    """int8 activations over an observed range that includes zero: scale (code - zero_point).

    scale = (high - low) / 255 in float32, zero_point = round(-128 - low / scale), so that zero is exact. Training
    and evaluation both use the running range. Boundaries: scale (c - zero_point + 0.5) for c = -128..126; a value
    on one belongs to the upper code. The gradient passes from the value of code -128 to that of 127.

    Args:
        relu: the range starts at 0 and negative values become 0: the quantizer takes the place of a ReLU.
        limit: the range's end is at most this (6 for a ReLU6).
        momentum: of the running range.
    """

    lowest_code = -128
    follows_batch = False

    def __init__(self, relu: bool = False, limit: float = float("inf"), momentum: float = MOMENTUM) -> None:
        super().__init__(momentum)
        self.relu = relu
        self.limit = limit

    def batch_range(self, x: Tensor) -> Tensor:
        low, high = (end.double() for end in torch.aminmax(x))
        low = torch.zeros_like(low) if self.relu else low.clamp_max(0.0)
        return torch.stack((low, high.clamp(0.0, self.limit)))

    def grid(self, span: Tensor) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (float64, whole) of a range."""
        width = span[1] - span[0]
        tiny = torch.finfo(torch.float32).tiny
        scale = torch.where(width > 0, width / 255.0, 1.0).float().clamp_min(tiny)
        return scale, round_half_up(-128.0 - span[0] / scale.double()).clamp(-128, 127)

    def thresholds(self, span: Tensor) -> Tensor:
        scale, zero = self.grid(span)
        codes = torch.arange(-128, 127, dtype=torch.float64, device=span.device)
        return scale.double() * (codes - zero + 0.5)

    def position(self, x: Tensor, span: Tensor) -> Tensor:
        scale, zero = self.grid(span)
        # In place from here on, as allocating float64 tensors costs more than the arithmetic.
        return x.to(torch.float64, copy=True).div_(scale.double()).add_(0.5).floor_().add_(zero + 128).clamp_(0, 255)

    def levels(self, span: Tensor) -> tuple[Tensor, Tensor]:
        scale, zero = self.grid(span)
        return torch.arange(-128, 128, dtype=torch.float64, device=span.device) - zero, scale

    def encoding(self) -> IntegerEncoding:
        scale, zero = self.grid(self.range())
        return Affine("int8", (float(scale),), (int(zero),))

    def surrogate(self, x: Tensor, span: Tensor) -> Tensor:
        integers, scale = self.levels(span)
        return torch.clamp(x, (integers[0] * scale).to(x.dtype), (integers[-1] * scale).to(x.dtype))
