"""Convolutions whose channels are chosen by looking at the input: feature boosting and suppression.

X. Gao et al., "Dynamic Channel Pruning: Feature Boosting and Suppression", ICLR 2019; R. Raju, "Towards Efficient
Inference and Improved Training Efficiency of Deep Neural Networks", 2022, section 3.3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import torch
from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import IntegerEncoding, Levels
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.mixed import CondConv2d
from tinygen.nn.quantizers import Affine8, Symmetric8

PENALTY = 1e-8
"""Of the sum of all gates (Raju, section 3.3.4)."""
_FIRST_GATE = 1.0
"""What heads begin with: channels neither boosted nor suppressed (Gao et al., section 3.4)."""


class Gammas(Affine8):
    """The gammas' quantizer: codes of 0 to 255 over an observed range that starts at 0."""

    lowest_code = 0

    def __init__(self) -> None:
        super().__init__(relu=True)

    def encoding(self) -> IntegerEncoding:
        return Levels((float(self.grid(self.range())[0]),), bits=8, signed=False)


class GatedConv2d(nn.Module):
    """relu(gamma * norm(conv(x)) + beta) of the k channels with the largest gamma; 0 in all others (equation 3.1).

    gamma = winners(relu(head(mean |x| of each channel))), with the winners' values: channels are boosted, not only
    chosen. Losers are not computed, beta included. k = ceil(density * out_channels), the same for every sample. Among
    equal gammas those with the lowest indices win, as on the board. The thesis' activation is swish; here it is a
    rectifier, so that gammas are unsigned.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as of nn.Conv2d; without bias, dilation and groups.
        density: share of the channels that are live; a fraction, or a float taken as the shortest decimal: 0.3 is 3/10.
        experts: whose weights are mixed for each input (`CondConv2d`): only those of live channels are, on the board.
        routing: of the experts: "sigmoid" or "softmax".
        quantizer: of the output, which begins at 0; Affine8(relu=True) unless given.

    Attributes:
        k: number of live channels.
        gates: [N, C_out], gammas of the last batch before losers became 0; with gradient in training.
        live: [N, k] int64, the live channels of each sample of the last batch, in ascending order.

    Raises:
        UnsupportedError: a density not in (0, 1], a routing without experts, or a quantizer of another kind.
    """

    gates: Tensor | None
    live: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        density: Fraction | float,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        experts: int = 0,
        routing: str = "sigmoid",
        quantizer: Affine8 | None = None,
    ) -> None:
        super().__init__()
        share = Fraction(str(density)) if isinstance(density, float) else Fraction(density)
        if not 0 < share <= 1:
            raise UnsupportedError(f"a density of {density}", where="GatedConv2d", fix="Give one in (0, 1].")
        self.density = share
        self.k = math.ceil(share * out_channels)
        if routing != "sigmoid" and not experts:
            raise UnsupportedError(f"a routing by {routing}", where="GatedConv2d", fix="Give a number of experts.")
        self.convolution: QuantConv2d | CondConv2d
        if experts:
            self.convolution = CondConv2d(
                in_channels, out_channels, kernel_size, experts=experts, stride=stride, padding=padding, routing=routing
            )
        else:
            self.convolution = QuantConv2d(
                in_channels, out_channels, kernel_size, stride, padding, bias=False, weight_quantizer=Symmetric8()
            )
        self.norm = nn.BatchNorm2d(out_channels, affine=False)
        self.beta = nn.Parameter(torch.zeros(out_channels))
        self.saliency_quantizer = Affine8(relu=True)
        self.head = QuantLinear(in_channels, out_channels, weight_quantizer=Symmetric8())
        nn.init.constant_(self.head.bias, _FIRST_GATE)
        self.gamma_quantizer = Gammas()
        self.quantizer = Affine8(relu=True) if quantizer is None else quantizer
        if not isinstance(self.quantizer, Affine8) or not self.quantizer.relu:
            fix = "Give an Affine8(relu=True)."
            raise UnsupportedError("a quantizer of values below 0", where="GatedConv2d", fix=fix)
        self.gates = self.live = None

    def forward(self, x: Tensor) -> Tensor:
        saliency = self.saliency_quantizer(x.abs().mean((2, 3)))
        self.gates = self.gamma_quantizer(torch.relu(self.head(saliency)))
        self.live = winners(self.gates.detach(), self.k)
        mask = torch.zeros_like(self.gates).scatter(1, self.live, 1.0)
        gamma = (self.gates * mask)[:, :, None, None]
        values = gamma * self.norm(self.convolution(x)) + self.beta[:, None, None]
        made: Tensor = self.quantizer(torch.relu(values * mask[:, :, None, None]))
        return made


def winners(scores: Tensor, k: int) -> Tensor:
    """Indices of the k largest values of each row, in ascending order; the lowest among equal ones. [N, C] to [N, k]
    int64.
    """
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :k]
    return order.sort(dim=1).values


def gated_layers(network: nn.Module) -> dict[str, GatedConv2d]:
    """A network's gated convolutions, by name."""
    return {name: part for name, part in network.named_modules() if isinstance(part, GatedConv2d)}


def gate_penalty(network: nn.Module, weight: float = PENALTY) -> Tensor:
    """`weight` times the sum of the last batch's gammas, the mean over its samples. Add it to the loss."""
    gates = [layer.gates for layer in gated_layers(network).values() if layer.gates is not None]
    return weight * sum((each.abs().sum(1).mean() for each in gates), torch.zeros(()))


@torch.no_grad()
def utilisation(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """How often each channel of each gated layer was chosen: int64 [C_out] by the layer's name (Raju, figure 3.4).

    Channels are counted as chosen, whatever their values. Counts are those of evaluation.

    Args:
        batches: inputs of the network.
    """
    layers = gated_layers(network)
    counts = {name: torch.zeros(layer.beta.shape[0], dtype=torch.int64) for name, layer in layers.items()}
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        for batch in batches:
            network(batch)
            for name, layer in layers.items():
                assert layer.live is not None
                counts[name] += torch.bincount(layer.live.flatten(), minlength=len(counts[name]))
    finally:
        for part in training:
            part.training = True
    return counts
