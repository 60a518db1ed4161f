"""Convolution whose number of live outputs and inputs depends on the input; tensors keep all their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops import integer_mac, mac
from tinygen.ir.ops.base import Node, Stripe
from tinygen.ir.ops.channel_lists import ABSENT, zero_code
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.window import patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class MaskedConv2D(Convolution):
    """Inputs: activations [1, H, W, I], constant weights OHWI, optional counted list of live inputs, optional counted
    list of live outputs (`PositiveChannels`). Output: [1, H', W', O].

    Live outputs are those of Conv2D over the listed inputs; dead ones are the code of 0. Unlisted inputs are not
    read: their writer stores zeros, which add nothing to the sum. `macs` is the worst case, with all channels live.
    """

    KIND: ClassVar[str] = "masked_conv_2d"

    epilogue: Epilogue

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        return [(1, rows.output, columns.output, node.input(1).shape[0])]

    def check(self, node: Node) -> None:
        x, weights, y = node.input(0), node.input(1), node.output
        integer_mac.check_activations(node, x)
        node.require(len(x.shape) == 4 and x.shape[0] == 1, f"'{x.name}' is not NHWC of batch 1")
        node.require(weights.is_constant and len(weights.shape) == 4, "weights are not constants OHWI")
        node.require(weights.shape[3] == x.shape[3], f"{weights.shape[3]} weights for {x.shape[3]} input channels")
        integer_mac.check_weights(node, weights.shape[0])
        for index, channels in ((2, x.shape[3]), (3, weights.shape[0])):
            live = node.optional(index)
            wanted = ChannelList(channels, counted=True)
            node.require(live is None or live.encoding == wanted, f"a list is {wanted}, not of '{live and live.name}'")
            node.require(live is None or live.size == channels + 1, f"a counted list has {channels + 1} elements")
            node.require(live is None or live.data is None, "a list is a constant: remove the other channels instead")
        integer_mac.check_epilogue(node, self.epilogue, weights.shape[0])
        node.require(y.dtype.itemsize == 1 and zero_code(y) is not None, f"{y.encoding} has no byte for 0")
        largest = integer_mac.largest_sum(node, integer_mac.weight_integers(node))
        node.require(largest <= integer_mac.LARGEST, "sums of products may not fit 32 bits")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, codes, live_in, live_out = [*values, ABSENT, ABSENT][:4]
        read = counted(live_in, x.shape[3])
        weights = node.input(1).integer.integers(codes)[..., read]
        windows = patches(node.input(0).integer.integers(x)[..., read], *self.geometry(node), 0)
        taps = windows.reshape(*windows.shape[:3], -1)
        sums = mac.product(taps, weights.reshape(len(weights), -1).T)
        found = integer_mac.finish(node, self.epilogue, sums)
        live = counted(live_out, len(weights))
        masked = np.full(found.shape, zero_code(node.output), found.dtype)
        masked[..., live] = found[..., live]
        return [masked]

    def macs(self, node: Node) -> int:
        return self.live_macs(node, node.input(1).shape[0], node.input(1).shape[3])

    def live_macs(self, node: Node, outputs: int, inputs: int) -> int:
        """Multiply-accumulates of an inference with these numbers of live channels."""
        _, kernel_h, kernel_w, _ = node.input(1).shape
        _, rows, columns, _ = node.output.shape
        return rows * columns * kernel_h * kernel_w * outputs * inputs

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        """None: lists apply to whole layers."""
        return None


def counted(values: np.ndarray, channels: int) -> np.ndarray:
    """The channels of a counted list; all of them if it is absent (empty)."""
    flat = values.reshape(-1)
    return flat[1 : 1 + int(flat[0])].astype(np.int64) if flat.size else np.arange(channels)
