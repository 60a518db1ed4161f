"""Convolutions whose masks are predicted: fire together, wire together (FTWT).

S. Elkerdawy, "Static and Dynamic Deep Neural Network Pruning", PhD thesis, University of Alberta 2022, chapter 6;
Elkerdawy et al., "Fire Together Wire Together", CVPR 2022. The unmasked outputs of a layer show which of its filters
fire most for an input; a mask predictor learns these labels from the layer's input.

Algorithm 1 as printed prunes other filters than the text describes. Here, indices are those of the filters, not of the
sorted order; the filter at which the mass reaches r is kept, so that at least one is kept if any fires; filters that do
not fire are pruned for every r, also for r = 1, where rounding prunes no others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinygen.errors import UnsupportedError
from tinygen.nn.gated import winners
from tinygen.nn.layers import QuantConv2d
from tinygen.nn.mask_predictors import MaskPredictor, RandomMask
from tinygen.nn.quantizers import Affine8, Symmetric8, WeightQuantizer
from tinygen.nn.quantizers.base import check_choice, straight_through

_PREDICTED, _RANDOM = ("softmax", "maxima"), "random"


def maxima(outputs: Tensor) -> Tensor:
    """The largest magnitude of each channel, [N, C] of [N, C, H, W]."""
    return outputs.detach().abs().amax(dim=(2, 3))


def firing_labels(peaks: Tensor, mass: float) -> Tensor:
    """The filters with the largest maxima, until their sum reaches the share r ("dynamic signature"), bool [N, C].

    Args:
        peaks: `maxima`, [N, C].
        mass: r, above 0 and at most 1.

    Raises:
        UnsupportedError: r is out of range.
    """
    if not 0.0 < mass <= 1.0:
        raise UnsupportedError(f"a mass of {mass}", where="firing_labels", fix="Use more than 0, and at most 1.")
    fires = peaks > 0
    if mass == 1.0:
        return fires
    ordered, places = torch.sort(peaks.double(), dim=1, descending=True, stable=True)
    before = torch.cumsum(ordered, dim=1) - ordered
    kept = before < mass * ordered.sum(dim=1, keepdim=True)
    return torch.zeros_like(fires).scatter(1, places, kept) & fires


def winning_labels(peaks: Tensor, count: int) -> Tensor:
    """The `count` filters with the largest maxima, the first among equal ones ("fixed signature"), bool [N, C].

    Raises:
        UnsupportedError: `count` is not in 1..C.
    """
    if not 1 <= count <= peaks.shape[1]:
        raise UnsupportedError(f"{count} of {peaks.shape[1]} filters", where="winning_labels")
    places = torch.sort(peaks, dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros(peaks.shape, dtype=torch.bool, device=peaks.device).scatter(1, places, True)


def prediction_loss(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
    """Equation 6.2: binary cross entropy, summed over layers and filters, the mean over inputs.

    Args:
        logits, labels: of each layer, [N, C].
    """
    pairs = zip(logits, labels, strict=True)
    sums = [functional.binary_cross_entropy_with_logits(a, b.to(a.dtype), reduction="sum") / len(a) for a, b in pairs]
    return torch.stack(sums).sum()


class MaskedConv2d(nn.Module):
    """relu(norm(conv(x))) of the filters that a predictor expects to fire, from the layer's input; 0 in all others.

    The number of live filters depends on the input ("dynamic signature"), or is fixed. Labels are made in each forward
    pass, of the outputs before the mask: add `firing_loss(network)` to the loss. Batch norm statistics are those of
    sums over inputs that earlier layers have masked.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as of nn.Conv2d; without bias, dilation and groups.
        mass: r, a dynamic signature: the share of the sum of maxima that labels keep, in (0, 1].
        density: a fixed signature: `ceil(density * out_channels)` filters; a float is taken as the shortest decimal.
        joint: gradients pass through masks to the predictor, and through the predictor to earlier layers. Else
            ("decoupled") the predictor learns from labels alone, and the mask is a constant for all other parameters.
        prediction: "softmax", logits from a softmax over the maxima of input channels; "maxima", from the maxima
            themselves; "random", `ceil(density * out_channels)` filters that are drawn once, the same for every input:
            the baseline of the other two. They are drawn from torch's generator, as first weights are:
            `torch.manual_seed` repeats them; they are part of the state_dict.
        weight_quantizer: of the convolution; Symmetric8() unless given.
        quantizer: of the output, which begins at 0; Affine8(relu=True) unless given.

    Attributes:
        k: number of live filters; None if it depends on the input.
        masking: False computes all filters, to train the dense network first; labels and logits are computed
            nevertheless.
        logits, labels, live: of the last batch, [N, C_out]; the latter two bool. `live` are the predicted ones. Random
            masks have no logits.
        peaks: `maxima` of the last batch, [N, C_out].

    Raises:
        UnsupportedError: not exactly one of mass and density is given, or it is outside (0, 1]; random masks with a
            mass or to be trained jointly; a quantizer of another kind.
    """

    logits: Tensor | None
    labels: Tensor | None
    live: Tensor | None
    peaks: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        mass: float | None = None,
        density: Fraction | float | None = None,
        joint: bool = False,
        prediction: str = "softmax",
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        weight_quantizer: WeightQuantizer | None = None,
        quantizer: Affine8 | None = None,
    ) -> None:
        super().__init__()
        share = _share(mass, density)
        self.mass = mass
        self.k = None if density is None else math.ceil(share * out_channels)
        self.joint, self.masking = joint, True
        weights = Symmetric8() if weight_quantizer is None else weight_quantizer
        self.convolution = QuantConv2d(
            in_channels, out_channels, kernel_size, stride, padding, bias=False, weight_quantizer=weights
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.predictor: MaskPredictor | RandomMask
        if check_choice("MaskedConv2d's prediction", prediction, (*_PREDICTED, _RANDOM)) == _RANDOM:
            if mass is not None or joint:
                fix = "Give a density, and leave joint out."
                raise UnsupportedError("a random mask that depends on the input", where="MaskedConv2d", fix=fix)
            self.predictor = RandomMask(out_channels)
        else:
            self.predictor = MaskPredictor(in_channels, out_channels, softmax=prediction == "softmax")
        self.quantizer = Affine8(relu=True) if quantizer is None else quantizer
        if not isinstance(self.quantizer, Affine8) or not self.quantizer.relu:
            fix = "Give an Affine8(relu=True)."
            raise UnsupportedError("a quantizer of values below 0", where="MaskedConv2d", fix=fix)
        self.logits = self.labels = self.live = self.peaks = None

    def forward(self, x: Tensor) -> Tensor:
        self.logits, integers = self.predictor(x if self.joint else x.detach())
        self.live = self._chosen(integers)
        values = torch.relu(self.norm(self.convolution(x)))
        self.peaks = maxima(values)
        self.labels = self._labels(self.peaks)
        if self.masking:
            mask = self.live.to(x.dtype)
            if self.joint:
                mask = straight_through(torch.sigmoid(_given(self.logits)), mask)
            values = values * mask[:, :, None, None]
        made: Tensor = self.quantizer(values)
        return made

    def _chosen(self, integers: Tensor) -> Tensor:
        if self.k is None:
            return integers > 0  # round(sigmoid(0)) is 0: halves are rounded to even
        places = winners(integers, self.k)
        return torch.zeros(integers.shape, dtype=torch.bool, device=integers.device).scatter(1, places, True)

    def _labels(self, peaks: Tensor) -> Tensor:
        if self.k is not None:
            return winning_labels(peaks, self.k)
        assert self.mass is not None
        return firing_labels(peaks, self.mass)


def _share(mass: float | None, density: Fraction | float | None) -> Fraction:
    """The mass or the density, whichever is given."""
    if (mass is None) == (density is None):
        fix = "Give a mass for masks that depend on the input alone, or a density for a fixed number of filters."
        raise UnsupportedError("not one of mass and density", where="MaskedConv2d", fix=fix)
    given = mass if density is None else density
    share = Fraction(str(given)) if isinstance(given, float) else Fraction(given or 0)
    if not 0 < share <= 1:
        raise UnsupportedError(f"a mass or density of {given}", where="MaskedConv2d", fix="Give one in (0, 1].")
    return share


def masked_layers(network: nn.Module) -> dict[str, MaskedConv2d]:
    """A network's convolutions with predicted masks, by name."""
    return {name: part for name, part in network.named_modules() if isinstance(part, MaskedConv2d)}


def firing_loss(network: nn.Module) -> Tensor:
    """Equation 6.2 of the last batch; 0 if all masks are random. It is not weighted: add it to the loss of the task."""
    called = [layer for layer in masked_layers(network).values() if layer.live is not None]
    if not called:
        fix = "Call the network first."
        raise UnsupportedError("a network without logits of masks", where="firing_loss", fix=fix)
    layers = [layer for layer in called if layer.logits is not None]
    if not layers:
        return torch.zeros(())
    return prediction_loss([_given(layer.logits) for layer in layers], [_given(layer.labels) for layer in layers])


def _given(value: Tensor | None) -> Tensor:
    assert value is not None
    return value
