"""APSQ: angle-penalised scaled quantization (thesis, chapter 6)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import IntegerEncoding
from tinygen.nn.quantizers.base import WeightCodes, WeightQuantizer, check_bits, check_choice, round_half_up, row_mean
from tinygen.nn.quantizers.binary import sign
from tinygen.nn.quantizers.tanh_quant import odd_encoding
from tinygen.nn.quantizers.zeros import only


def angle_penalty(vectors: Tensor, reference: Tensor) -> Tensor:
    """Mean over rows of 1 - cos(v, reference) (6.7); (6.8) when the reference is sign(v).

    A row of zeros has no angle and counts as 0.

    Args:
        vectors: [N, n], with gradient.
        reference: [N, n], Quant(v); taken as a constant.
    """
    reference = reference.detach()
    norms = torch.linalg.vector_norm(vectors, dim=1) * torch.linalg.vector_norm(reference, dim=1)
    present = norms > 0
    # Zero rows are taken out before the norm: its gradient there is not a number.
    vectors, reference = vectors[present], reference[present]
    cosine = torch.nn.functional.cosine_similarity(vectors, reference, dim=1, eps=0.0)
    return (1.0 - cosine).sum() / max(present.numel(), 1)


class APSQ(WeightQuantizer):
    """alpha Quant(w) with one alpha per kernel (each pair of output and input channel), trained by angle.

    Quant is sign for one bit, DoReFa with the maximum over the kernel for more (6.5). alpha = mean|w| (one bit) or
    max|w| (more bits, Quant(w / alpha)) (6.13, 6.14; the thesis prints mean(w) and max(w), its text says as XNOR-Net
    and "the whole real range"). alpha is itself quantized, q_b(alpha / normaliser), b = `scale_bits` (6.6). Kernels
    of one element (1x1 convolutions, dense layers) and layers with one input channel per group have one alpha per
    output channel instead, which costs nothing on the board and stays real.

    Lazy (6.11): training computes with the quantized weights, the task's gradient passes unchanged, and the
    regulariser's is taken at the real weights. Not lazy (6.12): training computes with the real weights and only the
    regulariser pulls them to the grid; evaluation, and training after `freeze()`, quantize.

    Args:
        bits: 1 to 8.
        scale_bits: 6 to 9, or None for real scalings, which cannot be exported (kernel-wise).
        scaling: "kernel" or "channel".
        lazy: (6.11), else (6.12).
        normaliser: the alpha that is quantized to 1; alphas above it are clipped. The thesis has 1; None takes the
            layer's largest alpha, so that no code is lost on alphas far below 1.
    """

    def __init__(
        self,
        bits: int = 1,
        scale_bits: int | None = 8,
        scaling: str = "kernel",
        lazy: bool = True,
        normaliser: float | None = None,
    ) -> None:
        super().__init__()
        self.bits = check_bits("APSQ", bits, 1, 8)
        self.scale_bits = None if scale_bits is None else check_bits("APSQ scalings", scale_bits, 6, 9)
        self.scaling = check_choice("APSQ", scaling, ("kernel", "channel"))
        self.lazy = lazy
        if normaliser is not None and not 0.0 < normaliser < float("inf"):
            raise UnsupportedError(f"normaliser {normaliser}", where="APSQ", fix="Use a positive finite normaliser.")
        self.normaliser = normaliser
        self.frozen = False

    def freeze(self) -> None:
        """From now on training computes with the quantized weights, which get no gradient (6.4.5)."""
        self.frozen = True

    def groups(self, weights: Tensor) -> Tensor:
        """The vectors that have one alpha each: [O, I, n], or [O, 1, n] channel-wise."""
        return weights.flatten(2) if self.kernel_wise(weights) else weights.flatten(1).unsqueeze(1)

    def kernel_wise(self, weights: Tensor) -> bool:
        """Whether these weights [O, I, ...] have one alpha per kernel."""
        return self.scaling == "kernel" and weights.dim() > 2 and weights.shape[1] > 1 and weights[0, 0].numel() > 1

    def alphas(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        """(6.13), before quantization: [O, I] or [O, 1], float64; 0 where nothing is kept."""
        sizes = self.groups(only(weights.detach(), kept)).double().abs()
        return row_mean(sizes, None if kept is None else self.groups(kept)) if self.bits == 1 else sizes.amax(2)

    def quantized(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        """The odd integers of Quant (6.5, 6.14), shape of `groups`, float64."""
        vectors = self.groups(only(weights.detach(), kept)).double()
        if self.bits == 1:
            return sign(vectors)
        alpha = self.alphas(weights, kept).unsqueeze(2)
        squashed = torch.tanh(vectors / torch.where(alpha > 0, alpha, 1.0))
        steps = 2**self.bits - 1
        # The largest |w / alpha| of a kernel is 1, so max|tanh| is tanh 1.
        codes = round_half_up(steps * (squashed / (2.0 * torch.tanh(torch.ones_like(alpha))) + 0.5))
        return 2.0 * codes - steps

    def _scalings(self, weights: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Integers by which each group is multiplied, [O, I] or [O, 1] (1 channel-wise), and the scale of the rest."""
        alphas = self.alphas(weights, kept)
        steps = 2**self.bits - 1
        if not self.kernel_wise(weights) or self.scale_bits is None:
            if kept is not None:
                # No weight is kept: any scale is correct, but a scale of 0 would make the channel constant.
                alphas = torch.where(self.groups(kept).any(2), alphas, 1.0)
            return torch.ones_like(alphas), (alphas / steps).float()
        top = alphas.max() if self.normaliser is None else alphas.new_tensor(self.normaliser)
        top = torch.where(top > 0, top, 1.0)
        levels = 2**self.scale_bits - 1
        return round_half_up(levels * (alphas / top).clamp(0.0, 1.0)), (top / (levels * steps)).float()

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        odd = self.quantized(weights, kept)
        factors, scale = self._scalings(weights, kept)
        codes = ((odd + 2**self.bits - 1) / 2).reshape(weights.shape)
        integers = (factors.unsqueeze(2) * odd).reshape(weights.shape)
        if scale.dim():
            scale = scale.reshape(*scale.shape, *(1,) * (weights.dim() - 2))
        return WeightCodes(codes, integers, scale)

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return odd_encoding(self.bits, scale, axis)

    def forward(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        if self.frozen:
            return super().forward(weights.detach(), kept)
        return only(weights, kept) if self.training and not self.lazy else super().forward(weights, kept)

    def codes(self, weights: Tensor, kept: Tensor | None = None) -> tuple[np.ndarray, IntegerEncoding]:
        """Codes and encoding; weights = scale * kernel_scales * encoding.integers(codes).

        Raises:
            ModelError: a weight is not finite.
            UnsupportedError: the scalings are kernel-wise and real.
        """
        if self.kernel_wise(weights) and self.scale_bits is None:
            fix = "Set scale_bits to 6..9, or scaling to channel."
            raise UnsupportedError("real scalings per kernel cannot be exported", where="APSQ", fix=fix)
        return super().codes(weights, kept)

    def covered(self, weights: Tensor, kept: Tensor) -> np.ndarray:
        """Kept weights, and kernels whose scaling is 0: both can keep one-bit codes."""
        scales = self.kernel_scales(weights, kept)
        inner = (1,) * (weights.dim() - 2)
        return (
            super().covered(weights, kept)
            if scales is None
            else (scales == 0).reshape(*scales.shape, *inner) | kept.cpu().numpy()
        )

    def kernel_scales(self, weights: Tensor, kept: Tensor | None = None) -> np.ndarray | None:
        """The scalings as integers, [O, I] uint16; None when they are channel-wise (then in the encoding)."""
        if not self.kernel_wise(weights) or self.scale_bits is None:
            return None
        return self._scalings(weights, kept)[0].cpu().numpy().astype(np.uint16)

    def penalty(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        """R_APSQ of one layer (6.7; 6.8 for one bit), the gradient at the real weights.

        The reference is the vector that is deployed, Quant(w / alpha) of (6.14). (6.7) prints Quant(w), which for
        more than one bit is another one, since tanh is not linear.
        """
        weights = only(weights, kept)
        vectors = self.groups(weights).flatten(0, 1)
        reference = self.quantized(weights, kept).flatten(0, 1).to(weights)
        if kept is not None:
            present = self.groups(kept).flatten(0, 1)
            rows = present.any(1)
            vectors, reference = vectors[rows], (reference * present)[rows]
        return angle_penalty(vectors, reference)

    def vectors(self, weights: Tensor, kept: Tensor | None = None) -> int:
        """How many vectors `penalty` is the mean over."""
        return int(self.groups(torch.ones_like(weights) if kept is None else kept).any(2).sum())
