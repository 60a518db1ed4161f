"""What chooses the filters of `MaskedConv2d`: predictors that look at the layer's input, and random lists.

S. Elkerdawy, "Static and Dynamic Deep Neural Network Pruning", PhD thesis, University of Alberta 2022, section 6.2.4;
without a softmax: table 6.4.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.softmax_numerator import LARGEST, powers
from tinygen.ir.tensor import Tensor as Codes
from tinygen.nn.quantizers import Affine8, Symmetric8
from tinygen.nn.quantizers.base import WeightCodes, channel_view, round_half_up, straight_through

_FIRST_BIAS = 1.0
"""What predictors begin with: all filters live, so that training begins with the network as it is."""
_LARGEST_BIAS = 2**30


class _OneScale(Symmetric8):
    """int8 weights with one scale, so that the logits of all filters can be compared."""

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        top = weights.detach().abs().max().expand(len(weights))
        parts = super().parts(torch.cat((weights.flatten(1), top[:, None]), 1), kept)
        codes, scale = parts.codes[:, :-1].reshape(weights.shape), channel_view(parts.scale.flatten(), weights)
        return WeightCodes(codes, codes, scale)


class MaskPredictor(nn.Module):
    """logits = W softmax(maximum of each input channel) + b, one for each filter (section 6.2.4).

    The arithmetic is the board's: its table of exponentials, int8 weights. The bias, which the thesis does not mention,
    is added to the weights; this is equivalent, since a softmax sums to 1. Without the softmax, logits are
    W maxima + b, and the bias is rounded to a whole unit of the sums of products.

    Args:
        inputs, filters: channels.
        softmax: over the maxima, which it normalises.

    Attributes:
        weight, bias: the trained parameters, [filters, inputs] and [filters].
        quantizer: of the maxima.
    """

    def __init__(self, inputs: int, filters: int, *, softmax: bool = True) -> None:
        super().__init__()
        self.softmax = softmax
        self.weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(filters, inputs), math.sqrt(5)))
        self.bias = nn.Parameter(torch.full((filters,), _FIRST_BIAS))
        self.quantizer = Affine8()
        self._weights = _OneScale()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an input."""
        return self.weight.numel()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(logits, the same as integers of the board in float64, which are larger by a positive factor), [N, filters].

        Args:
            x: the layer's input, [N, C, H, W].
        """
        peaks = self.quantizer(x.amax((2, 3)))
        real, exact, integers = self._of_softmax(peaks) if self.softmax else self._of_maxima(peaks)
        return straight_through(real, exact.to(real.dtype)), integers

    def _of_softmax(self, peaks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits with their gradient, their exact values, and integers."""
        joined = self.weight + self.bias[:, None]
        real = functional.linear(torch.softmax(peaks, 1), self._weights(joined))
        parts = self._weights.parts(joined.detach())
        numerators = self._numerators(peaks.detach())
        integers = numerators @ parts.codes.double().T
        return real, integers * parts.scale.double().flatten() / numerators.sum(1, keepdim=True), integers

    def _of_maxima(self, peaks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same without a softmax."""
        real = functional.linear(peaks, self._weights(self.weight), self.bias)
        codes = self._weights.parts(self.weight.detach()).codes.double()
        whole = torch.round(peaks.detach().double() / self._step())
        integers = whole @ codes.T + self._biases()
        return real, integers * self._unit(), integers

    def codes(self) -> tuple[np.ndarray, float]:
        """int8 weights [filters, inputs], with the bias if there is a softmax; the real value of one unit of the
        board's logits.
        """
        joined = self.weight.detach() + self.bias.detach()[:, None] if self.softmax else self.weight.detach()
        codes, encoding = self._weights.codes(joined)
        return codes, encoding.scale[0] / LARGEST if self.softmax else self._unit()

    def biases(self) -> tuple[int, ...]:
        """What is added to the sums of products: of each filter; 0 for all with a softmax.

        Raises:
            UnsupportedError: a bias is so large that sums might not fit 32 bits.
        """
        if self.softmax:
            return (0,)
        found = self._biases()
        if float(found.abs().max()) > _LARGEST_BIAS:
            fix = "Train it longer, or with a softmax."
            raise UnsupportedError("a bias far larger than all weights", where="MaskPredictor", fix=fix)
        return tuple(int(value) for value in found)

    def _biases(self) -> Tensor:
        """Whole units of the sums of products, float64 [filters]."""
        return round_half_up(self.bias.detach().double() / self._unit())

    def _unit(self) -> float:
        """Real value of 1 in the sums of products of maxima and weights."""
        return self._step() * float(self._weights.parts(self.weight.detach()).scale.flatten()[0])

    def _step(self) -> float:
        encoding = self.quantizer.encoding()
        assert isinstance(encoding, Affine)
        return encoding.scale[0]

    def _numerators(self, peaks: Tensor) -> Tensor:
        """255 exp(peak - largest peak) as the board's table has it, float64."""
        below = (peaks.amax(1, keepdim=True) - peaks).double() / self._step()
        table = torch.from_numpy(powers(Codes("x", (1, 1), self.quantizer.encoding())).astype(np.float64))
        return table.to(peaks.device)[below.round().long()]


class RandomMask(nn.Module):
    """Filters in a random order, drawn once: a fixed signature that does not depend on the input.

    Attributes:
        order: a permutation, float64 [filters]; a layer with k live filters computes those with the k largest.
        macs: of choosing filters, none.
    """

    order: Tensor
    macs = 0

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(filters).double())

    def forward(self, x: Tensor) -> tuple[None, Tensor]:
        """No logits, and `order` for each of the inputs, [N, filters]."""
        return None, self.order.expand(len(x), -1)

    def kept(self, k: int) -> Tensor:
        """The k filters that are live, bool [filters]."""
        return self.order >= self.order.sort(descending=True).values[k - 1]
