"""Part of a quantized tensor, quantized as in the whole."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tinygen.ir.encodings import IntegerEncoding
from tinygen.nn.quantizers import WeightQuantizer
from tinygen.nn.quantizers.base import WeightCodes
from tinygen.nn.quantizers.zeros import only
from tinygen.nn.switchable.runs import Index


class PartOf(WeightQuantizer):
    """Rows and columns of a quantized whole layer: the quantizer's maximum, means and table are those of the whole
    layer.

    For evaluation: the whole layer's weights are those at construction.

    Args:
        quantizer: of the whole.
        whole: its weights, [O, I, ...].
        rows, columns: what is kept of O and of I.
        mask: bool, shape of `whole`, where that is pruned.
    """

    whole: Tensor
    mask: Tensor | None

    def __init__(
        self, quantizer: WeightQuantizer, whole: Tensor, rows: Index, columns: Index, mask: Tensor | None = None
    ) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.register_buffer("whole", only(whole.detach(), mask).clone())
        self.register_buffer("mask", None if mask is None else mask.clone())
        self.rows, self.columns = rows, columns

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        whole = self.quantizer.parts(self.whole, self.mask)
        scale = whole.scale[self.rows] if whole.scale.dim() else whole.scale
        return WeightCodes(self._part(whole.codes), self._part(whole.integers), scale)

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return self.quantizer.encoding(self.whole, scale, axis)

    def kernel_scales(self, weights: Tensor, kept: Tensor | None = None) -> np.ndarray | None:
        scales = self.quantizer.kernel_scales(self.whole, self.mask)
        return None if scales is None else scales[self.rows][:, self.columns]

    def _part(self, tensor: Tensor) -> Tensor:
        return tensor[self.rows][:, self.columns]
