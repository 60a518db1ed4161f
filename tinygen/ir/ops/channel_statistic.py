"""The statistic of each channel that a gate sees: mean, mean magnitude, or maximum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.channel_lists import check_list, listed
from tinygen.ir.tensor import Shape


class Statistic(Enum):
    """Statistic over the pixels of a channel, in integers of its codes."""

    SUM = "sum"
    """The sum: with a division in the epilogue the mean, which routers of experts take (Raju 2022, equation 3.2)."""
    MAGNITUDE = "magnitude"
    """The sum of magnitudes: the L1 mean that predicts saliency (Raju 2022, equation 3.5)."""
    MAXIMUM = "maximum"
    """The largest: what fire together, wire together pools (Elkerdawy 2022, section 6.2.4)."""


@dataclass(frozen=True, kw_only=True)
class ChannelStatistic(Op):
    """Inputs: activations [1, H, W, k]; optional list of its channels among C. Output: [1, C].

    s[c] = the statistic of integers(x)[:, :, c] over the pixels, 0 for dead channels; output: its epilogue.

    Attributes:
        epilogue: one for all channels.
    """

    KIND: ClassVar[str] = "channel_statistic"

    statistic: Statistic
    epilogue: Rescale

    def channels(self, node: Node) -> int:
        """Number of channels, live and dead."""
        live = node.optional(1)
        known = live is not None and isinstance(live.encoding, ChannelList)
        return live.encoding.of if known else node.input(0).shape[3]  # type: ignore[union-attr]

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [(1, self.channels(node))]

    def check(self, node: Node) -> None:
        x = node.input(0)
        integer_mac.check_activations(node, x)
        node.require(len(x.shape) == 4 and x.shape[0] == 1, f"'{x.name}' is not NHWC of batch 1")
        check_list(node, 1, channels=self.channels(node), live=x.shape[3])
        node.require(self.epilogue.channels == 1, "one epilogue serves all channels")
        integer_mac.check_epilogue(node, self.epilogue, 1)
        largest = integer_mac.largest_integer(x.encoding) * x.shape[1] * x.shape[2]
        node.require(largest <= integer_mac.LARGEST, "sums may not fit 32 bits")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        integers = node.input(0).integer.integers(values[0])
        live = {
            Statistic.SUM: lambda: integers.sum(axis=(1, 2)),
            Statistic.MAGNITUDE: lambda: np.abs(integers).sum(axis=(1, 2)),
            Statistic.MAXIMUM: lambda: integers.max(axis=(1, 2)),
        }[self.statistic]()
        found = np.zeros((1, self.channels(node)), np.int64)
        found[:, listed(values[1] if len(values) > 1 else np.zeros(0), found.shape[1])] = live
        return [integer_mac.finish(node, self.epilogue, found)]
