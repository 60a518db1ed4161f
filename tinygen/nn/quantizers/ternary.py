"""Ternary weights."""

from __future__ import annotations

import torch
from torch import Tensor

from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.encodings import Ternary as TernaryEncoding
from tinygen.nn.quantizers.base import WeightCodes, WeightQuantizer, check_choice, group_mean


class Ternary(WeightQuantizer):
    """alpha sign(w) where |w| > delta, else 0; delta = 0.7 mean|w|, alpha = mean|w| of the survivors.

    F. Li, B. Zhang, B. Liu, "Ternary Weight Networks", 2016, section 2. A weight that equals delta is 0. The
    gradient passes unchanged.

    Args:
        scaling: delta and alpha of each output "channel", or of the "layer".
    """

    def __init__(self, scaling: str = "channel") -> None:
        super().__init__()
        self.scaling = check_choice("Ternary", scaling, ("channel", "layer"))

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        size = weights.double().abs()
        survives = size > 0.7 * group_mean(size, self.scaling, kept)
        share = group_mean(survives, self.scaling, kept)
        # All weights are zero: none survives, and any scale is correct.
        alpha = torch.where(share > 0, group_mean(size * survives, self.scaling, kept) / share.clamp_min(1e-30), 1.0)
        codes = torch.sign(weights.double()) * survives
        return WeightCodes(codes, codes, alpha.float())

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return TernaryEncoding(scale, axis)
