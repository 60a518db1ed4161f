"""Convolution of live channels only: lists select the filters and each filter's input channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops import integer_mac, mac
from tinygen.ir.ops.base import Node, Stripe
from tinygen.ir.ops.channel_lists import ABSENT, boosted, check_gamma, check_list, listed, of_listed
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.window import patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class GatherConv2D(Convolution):
    """Inputs: live activations [1, H, W, k_in]; weights; optional list of the k_in live inputs; optional list of the
    k_out live outputs; optional gammas [k_out], unsigned codes of 8 bits. Output: [1, H', W', k_out].

    Constant weights cover all channels, [O, KH, KW, I], and W[out[j], :, :, in[i]] is used. Computed weights
    (`MixWeights`) cover the live channels only, [k_out, KH, KW, k_in]. With c = out[j]:

        acc = sum over taps and i of integers(x)[.., i] * integers(W)[c, .., in[i]]
        y[.., j] = clamp((gamma[j] * multiplier[c] * (acc + bias[c]) + offset[c]) >> shift[c], low, high)

    Taps outside the input count as 0; absent gammas are 1. gamma * multiplier fits 32 bits, its product with acc + bias
    62 bits; only the shift rounds. This is sigma(gamma * norm(conv(x)) + beta) of feature boosting and suppression (Gao
    et al., "Dynamic Channel Pruning: Feature Boosting and Suppression", 2019; Raju 2022, equation 3.1) with the mean of
    `norm` in `bias`, its scale in `multiplier`, beta and rounding in `offset`, and a ReLU in the clamp. Dead channels
    are absent, so they do not get beta.

    Attributes:
        epilogue: of all O channels, or one for all of them.
        bias: int32, added to accumulators; of all O channels, or empty.
    """

    KIND: ClassVar[str] = "gather_conv_2d"

    epilogue: Rescale
    bias: tuple[int, ...] = ()

    def groups(self, node: Node) -> int:
        """One: lists do not support groups."""
        return 1

    def filters(self, node: Node) -> int:
        """Number of output channels, live and dead."""
        weights, live = node.input(1), node.optional(3)
        computed = not weights.is_constant and live is not None and isinstance(live.encoding, ChannelList)
        return live.encoding.of if computed else weights.shape[0]  # type: ignore[union-attr]

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        live = node.optional(3)
        return [(1, rows.output, columns.output, node.input(1).shape[0] if live is None else live.size)]

    def check(self, node: Node) -> None:
        x, weights, outputs = node.input(0), node.input(1), self.filters(node)
        integer_mac.check_activations(node, x)
        node.require(len(x.shape) == 4 and x.shape[0] == 1, f"'{x.name}' is not NHWC of batch 1")
        node.require(len(weights.shape) == 4, "weights are not OHWI")
        integer_mac.check_weights(node, weights.shape[0])
        live_out = node.optional(3)
        if weights.is_constant:
            check_list(node, 2, channels=weights.shape[3], live=x.shape[3])
        else:
            check_computed(node, x.shape[3])
        check_list(node, 3, channels=outputs, live=outputs if live_out is None else live_out.size)
        integer_mac.check_epilogue(node, self.epilogue, outputs)
        live = outputs if live_out is None else live_out.size
        check_gamma(node, 4, self.epilogue, live)
        node.require(len(self.bias) in (0, outputs), f"{len(self.bias)} biases for {outputs} channels")
        largest = max(map(abs, self.bias), default=0) + _largest_sum(node)
        node.require(largest <= integer_mac.LARGEST, "sums of products may not fit 32 bits")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, codes, live_in, live_out, gamma = [*values, ABSENT, ABSENT, ABSENT][:5]
        live = listed(live_out, self.filters(node))
        weights = node.input(1).integer.integers(codes)
        if node.input(1).is_constant:
            weights = weights[live][..., listed(live_in, weights.shape[3])]
        windows = patches(node.input(0).integer.integers(x), *self.geometry(node), 0)
        taps = windows.reshape(*windows.shape[:3], -1)
        sums = mac.product(taps, weights.reshape(len(weights), -1).T)
        biased = sums + np.array(self.bias, np.int64)[live] if self.bias else sums
        ending = boosted(of_listed(self.epilogue, live), gamma)
        return [integer_mac.finish(node, ending, biased)]

    def macs(self, node: Node) -> int:
        """Executed multiply-accumulates: the live filters' live weights."""
        _, kernel_h, kernel_w, _ = node.input(1).shape
        return node.output.size * kernel_h * kernel_w * node.input(0).shape[3]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        """None: every stripe would have to gather the same weights again."""
        return None


def check_computed(node: Node, live: int) -> None:
    """Checks computed weights: those of the live channels."""
    weights, live_out = node.input(1), node.optional(3)
    node.require(node.optional(2) is None, "computed weights are of live inputs only, and need no list of them")
    node.require(weights.shape[3] == live, f"{weights.shape[3]} weights for {live} input channels")
    filters = weights.shape[0] if live_out is None else live_out.size
    node.require(weights.shape[0] == filters, f"{weights.shape[0]} filters for {filters} live channels")


def _largest_sum(node: Node) -> int:
    """Upper bound of the magnitude of accumulators, whichever channels are live."""
    weights = node.input(1)
    if weights.data is not None:
        return integer_mac.largest_sum(node, integer_mac.weight_integers(node))
    each = integer_mac.largest_integer(weights.encoding) * integer_mac.largest_integer(node.input(0).encoding)
    return each * math.prod(weights.shape[1:])
