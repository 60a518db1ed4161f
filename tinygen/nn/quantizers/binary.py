"""Binary weights: BinaryConnect, and the scalings of Binary-Weight-Networks and XNOR-Net."""

from __future__ import annotations

import torch
from torch import Tensor

from tinygen.ir.encodings import Binary, IntegerEncoding
from tinygen.nn.quantizers.base import WeightCodes, WeightQuantizer, check_choice, group_mean


def sign(x: Tensor) -> Tensor:
    """-1.0 or +1.0, with sign(0) = +1; same dtype."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class BinaryConnect(WeightQuantizer):
    """sign(w), with sign(0) = +1 and no scale; the gradient passes where |w| <= 1.

    M. Courbariaux et al., "BinaryConnect", NIPS 2015. Clip the weights to [-1, 1] after each step, as they do
    (`tinygen.nn.clip_weights`): a weight that leaves the interval gets no gradient that could bring it back.
    """

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        signs = sign(weights.double())
        return WeightCodes((signs + 1) / 2, signs, torch.ones((), device=weights.device))

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return Binary(scale, axis)

    def surrogate(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        return torch.clamp(weights, -1.0, 1.0)


class BWN(BinaryConnect):
    """alpha sign(w), alpha = mean|w| of each output channel or of the layer; the gradient passes unchanged.

    M. Rastegari et al., "XNOR-Net", ECCV 2016, section 3.1 (Binary-Weight-Networks) and Algorithm 1, which updates
    the weights with the gradient at the binary ones.

    Args:
        scaling: "channel" or "layer".
    """

    def __init__(self, scaling: str = "channel") -> None:
        super().__init__()
        self.scaling = check_choice(type(self).__name__, scaling, ("channel", "layer"))

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        signs = sign(weights.double())
        alpha = group_mean(weights.abs(), self.scaling, kept)
        if kept is not None:
            # No weight is kept: any scale is correct, but a scale of 0 would make the channel constant when it is
            # folded.
            alpha = torch.where(group_mean(kept, self.scaling) > 0, alpha, 1.0)
        return WeightCodes((signs + 1) / 2, signs, alpha.float())

    def surrogate(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        return weights


class XNORNet(BWN):
    """alpha sign(w) as BWN; gradient g (1/n + alpha 1[|w| <= 1]), n the number of weights that share an alpha.

    M. Rastegari et al., "XNOR-Net", ECCV 2016, section 3.1, "Training". Its scaling of the activations (K) is left
    out: it would put a real factor on every pixel.
    """

    def surrogate(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        alpha = group_mean(weights.detach().abs(), self.scaling, kept).to(weights.dtype)
        share = 1.0 if kept is None else group_mean(kept, self.scaling).to(weights.dtype)
        count = (weights.numel() if self.scaling == "layer" else weights[0].numel()) * share
        # If no weight is kept, this would be 0 / 0.
        return weights / torch.as_tensor(count).clamp_min(1.0) + alpha * torch.clamp(weights, -1.0, 1.0)
