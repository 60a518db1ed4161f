"""Depthwise convolution of live channels only: a list selects the filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node, Stripe
from tinygen.ir.ops.channel_lists import check_list, listed, of_listed
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.window import patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class GatherDepthwiseConv2D(Convolution):
    """Inputs: live activations [1, H, W, k]; constant weights of all channels [C, KH, KW, 1]; their list.
    Output: [1, H', W', k], of the same channels.

        y[.., j] = epilogue of channel c = live[j]: sum over taps of integers(x)[.., j] * integers(W)[c]

    Taps outside the input count as 0. A dead channel stays dead: the constant that an ungated layer would compute from
    zeros is absent, so that a layer and the depthwise layer behind it are gated together (Elkerdawy 2022, chapter 6).

    Attributes:
        epilogue: of all C channels, or one for all of them.
    """

    KIND: ClassVar[str] = "gather_depthwise_conv_2d"

    epilogue: Rescale

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        return [(1, rows.output, columns.output, node.input(0).shape[3])]

    def check(self, node: Node) -> None:
        x, weights = node.input(0), node.input(1)
        integer_mac.check_activations(node, x)
        node.require(len(x.shape) == 4 and x.shape[0] == 1, f"'{x.name}' is not NHWC of batch 1")
        one = weights.is_constant and len(weights.shape) == 4 and weights.shape[3] == 1
        node.require(one, "weights are not constants [C, KH, KW, 1]")
        integer_mac.check_weights(node, weights.shape[0])
        node.require(isinstance(node.input(2).encoding, ChannelList), f"'{node.input(2).name}' is no list of channels")
        check_list(node, 2, channels=weights.shape[0], live=x.shape[3])
        integer_mac.check_epilogue(node, self.epilogue, weights.shape[0])
        largest = integer_mac.largest_sum(node, integer_mac.weight_integers(node))
        node.require(largest <= integer_mac.LARGEST, "sums of products may not fit 32 bits")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        live = listed(values[2], node.input(1).shape[0])
        weights = node.input(1).integer.integers(values[1])[live, :, :, 0]
        windows = patches(node.input(0).integer.integers(values[0]), *self.geometry(node), 0)
        sums = np.einsum("nhwyxc,cyx->nhwc", windows, weights)
        return [integer_mac.finish(node, of_listed(self.epilogue, live), sums)]

    def macs(self, node: Node) -> int:
        """Executed multiply-accumulates: of live channels."""
        _, kernel_h, kernel_w, _ = node.input(1).shape
        return node.output.size * kernel_h * kernel_w

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        """None: lists apply to whole layers."""
        return None
