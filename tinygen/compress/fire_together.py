"""Fire together, wire together: which filters an input needs, and how much of a network that spares.

S. Elkerdawy, "Static and Dynamic Deep Neural Network Pruning", PhD thesis, University of Alberta 2022, chapter 6;
Elkerdawy et al., "Fire Together Wire Together", CVPR 2022. The outputs of a layer, as they are before any mask, say
which of its filters fire most for an input; a mask predictor learns that from the layer's input.

Algorithm 1 as it is printed prunes other filters than the text means. What holds here: places are those of the filters,
not of the sorted order; the filter with which the mass reaches r is kept, so that one filter always is, if any fires;
filters that do not fire are pruned for every r, at 1 too, where rounding prunes no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tinygen.errors import ModelError, UnsupportedError


def maxima(outputs: Tensor) -> Tensor:
    """The largest magnitude of each channel, [N, C] of [N, C, H, W]."""
    return outputs.detach().abs().amax(dim=(2, 3))


def firing_labels(peaks: Tensor, mass: float) -> Tensor:
    """Filters with which the mass of the sorted maxima reaches r ("dynamic signature"), bool [N, C].

    Args:
        peaks: `maxima`, [N, C].
        mass: r, above 0 and at most 1.

    Raises:
        UnsupportedError: r is not within these.
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
    """The `count` filters with the largest maxima, of equal ones the first ("fixed signature"), bool [N, C].

    Raises:
        UnsupportedError: `count` is not within 1 and C.
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


@dataclass(frozen=True)
class MaskedLayer:
    """A convolution with a mask on its outputs.

    Attributes:
        pixels: of its output.
        taps: of its window.
        inputs, outputs: channels.
        source: the layer whose mask its inputs have; "" where all of them are read.
    """

    pixels: int
    taps: int
    inputs: int
    outputs: int
    source: str = ""

    @property
    def macs(self) -> int:
        """With all channels."""
        return self.pixels * self.taps * self.inputs * self.outputs

    @property
    def predictor_macs(self) -> int:
        """Of the dense layer from inputs to masks."""
        return self.inputs * self.outputs


@dataclass(frozen=True, eq=False)
class FiringProfile:
    """What a trained dense network says about masses before anything else is trained (section 6.3.3).

    Attributes:
        layers: by name.
        peaks: `maxima` of their outputs over a data set, [N, C] by name, of the same inputs in the same order.
    """

    layers: Mapping[str, MaskedLayer]
    peaks: Mapping[str, Tensor]

    def macs(self, mass: float, *, skip_inputs: bool = True) -> float:
        """Mean MAC of an input, predictors included.

        Args:
            mass: r.
            skip_inputs: dead inputs are not read, as the C does; else only dead outputs are skipped.
        """
        live = {name: firing_labels(peaks, mass).sum(dim=1).double() for name, peaks in self.peaks.items()}
        total = 0.0
        for name, layer in self.layers.items():
            reads = skip_inputs and layer.source
            inputs = live[layer.source] if reads else torch.full_like(live[name], layer.inputs)
            total += float((live[name] * inputs).mean()) * layer.pixels * layer.taps + layer.predictor_macs
        return total

    def reduction(self, mass: float, *, skip_inputs: bool = True) -> float:
        """Share of the dense MAC that is spared, predictors taken off; negative where they cost more."""
        return 1 - self.macs(mass, skip_inputs=skip_inputs) / sum(layer.macs for layer in self.layers.values())

    def mass_for(self, reduction: float, *, skip_inputs: bool = True, steps: int = 30) -> float:
        """The largest r, to 2**-steps, that spares at least this share.

        Raises:
            ModelError: none does.
        """
        low, high = 0.0, 1.0
        if self.reduction(high, skip_inputs=skip_inputs) >= reduction:
            return high
        for _ in range(steps):
            middle = (low + high) / 2
            if self.reduction(middle, skip_inputs=skip_inputs) >= reduction:
                low = middle
            else:
                high = middle
        if low == 0.0:
            raise ModelError(f"no mass spares {100 * reduction:.1f} % of the MAC", where="FiringProfile")
        return low
