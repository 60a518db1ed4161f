"""Convolutions whose weights are mixed for each input: conditionally parametrised convolutions.

B. Yang et al., "CondConv: Conditionally Parameterized Convolutions for Efficient Inference", NeurIPS 2019; R. Raju,
"Towards Efficient Inference and Improved Training Efficiency of Deep Neural Networks", 2022, section 3.3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.unary import Logistic
from tinygen.ir.tensor import Tensor as Codes
from tinygen.nn.layers import QuantLinear
from tinygen.nn.quantizers import Affine8, Symmetric8
from tinygen.nn.quantizers.base import check_choice, straight_through
from tinygen.nn.quantizers.ranges import FollowedRange

ROUTING: Mapping[str, type[Logistic | Softmax]] = {"sigmoid": Logistic, "softmax": Softmax}
"""What makes routing weights of a router's logits."""
SHARES = Affine("int8", (1 / 256,), (-128,))
"""Of the codes of routing weights: 256ths."""
_EXPERTS = 16
_BITS = 12
"""Of the multiplier that rounds mixed weights: sums of 16 experts times it fit 32 bits."""


class CondConv2d(FollowedRange):
    """A convolution with the weights alpha_1 W_1 + ... + alpha_E W_E, alpha = sigmoid(router(mean of each channel)).

    Equations 3.2 and 3.3 of the thesis; sigmoids, so that alphas do not add up to 1, or a softmax over experts. Experts
    are int8 with a scale for each output channel, which all experts share. Mixed weights are rounded to int8 once, over
    the range observed in training, in the arithmetic of the board.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as of nn.Conv2d; without bias, dilation and groups.
        experts: E, 1 to 16; the thesis has 4.
        routing: "sigmoid", which the thesis found better, or "softmax", over the experts.

    Attributes:
        weight: of all experts, [E, O, I, KH, KW].
        mixed_range: largest magnitude of a mixed weight, in units of the experts' codes.
        shares: [N, E], alphas of the last batch; None before the first.

    Raises:
        UnsupportedError: no experts, or too many; another routing.
    """

    stored = "mixed_range"
    unknown = torch.ones((), dtype=torch.float64)
    ranged = "the mixed weights"
    mixed_range: Tensor
    shares: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        experts: int = 4,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        routing: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.routing = check_choice("CondConv2d's routing", routing, tuple(ROUTING))
        if not 1 <= experts <= _EXPERTS:
            raise UnsupportedError(f"{experts} experts", where="CondConv2d", fix=f"Give 1 to {_EXPERTS}.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = (_pair(value) for value in (kernel_size, stride, padding))
        self.dilation = (1, 1)
        one = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False)
        each = [nn.init.kaiming_uniform_(torch.empty_like(one.weight), math.sqrt(5)) for _ in range(experts)]
        self.weight = nn.Parameter(torch.stack(each))
        self.mean_quantizer = Affine8()
        self.router = QuantLinear(in_channels, experts, weight_quantizer=Symmetric8())
        self.logit_quantizer = Affine8()
        self._keep_range()
        self._quantizer = Symmetric8()
        self.shares = None

    def forward(self, x: Tensor) -> Tensor:
        logits = self.logit_quantizer(self.router(self.mean_quantizer(x.mean((2, 3)))))
        soft = self._routed(logits)
        counts = self._counts(logits)
        self.shares = straight_through(soft, (counts / 256).to(x.dtype))
        codes, scale = self.expert_codes()
        real = torch.einsum("ne,eoikl->noikl", self.shares, self.weight)
        mixed = straight_through(real, self._mixed(counts, codes, scale).to(x.dtype))
        rows = x.reshape(1, -1, *x.shape[2:])
        made = nn.functional.conv2d(rows, mixed.flatten(0, 1), None, self.stride, self.padding, groups=len(x))
        return made.reshape(len(x), self.out_channels, *made.shape[2:])

    def expert_codes(self) -> tuple[Tensor, Tensor]:
        """int64 codes of the experts, of the weight's shape, and their scales [O], float32."""
        together = self.weight.detach().transpose(0, 1)  # [O, E, I, KH, KW]: one scale for a channel's experts
        parts = self._quantizer.parts(together)
        return parts.codes.long().transpose(0, 1), parts.scale.flatten()

    def rounding(self) -> Rescale:
        """The rounding to int8 of sums of 256ths times codes.

        Raises:
            ModelError: no weights have been mixed, so that their range is not known.
        """
        factor = 127.0 / (256.0 * float(self.known_range()))
        shift = _BITS - 1 - math.floor(math.log2(factor))
        return Rescale((round(factor * 2.0**shift),), (1 << (shift - 1),), (shift,), -127, 127)

    def mixed_step(self) -> float:
        """The value of one unit of the mixed weights, in units of the experts' codes."""
        rounding = self.rounding()
        return float(2.0 ** rounding.shift[0] / rounding.multiplier[0] / 256)

    def _routed(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, 1) if self.routing == "softmax" else torch.sigmoid(logits)

    def _counts(self, logits: Tensor) -> Tensor:
        """Alphas in 256ths, int64 [N, E], as the board computes them."""
        if self.training:
            return (self._routed(logits.detach().double()) * 256).round().clamp(0, 255).long()
        codes, encoding = self.logit_quantizer.codes(logits)
        op = ROUTING[self.routing](name="shares", inputs=("logits",), outputs=("shares",))
        node = Node(op, (Codes("logits", codes.shape, encoding),), (Codes("shares", codes.shape, SHARES),))
        return torch.from_numpy(op.evaluate(node, [codes])[0].astype(np.int64) + 128)

    def _mixed(self, counts: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
        """Mixed weights [N, O, I, KH, KW] as the board rounds them, float64."""
        sums = torch.einsum("ne,eoikl->noikl", counts.double(), codes.double())
        if self.training or self.calibrating:
            self.follow((sums.abs().max() / 256).clamp_min(1.0))
        rounding = self.rounding()
        multiplier, offset, shift = rounding.multiplier[0], rounding.offset[0], rounding.shift[0]
        rounded = ((sums.long() * multiplier + offset) >> shift).clamp(rounding.low, rounding.high)
        return rounded.double() * (scale.double() * self.mixed_step())[:, None, None, None]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
