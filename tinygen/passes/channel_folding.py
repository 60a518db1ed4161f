"""Which input channels a convolution or dense layer does not need, and the bias that replaces them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.passes.ranges import Ranges, bias_of

BIAS_LIMIT = 2**30
"""Folded biases stay within: kernels fold the zero point in as well, and 32-bit accumulators must not overflow."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer as reader of its input channels.

    Attributes:
        used: whether output o has a weight other than 0 on input channel c, bool [O, C].
        constant: input channels that act as a constant on every output element, bool [C].
        share: what each constant channel adds to each accumulator, int64 [O, constant channels].
        bias: int64 [O].
        wide: whether accumulators have 64 bits.
    """

    used: np.ndarray
    constant: np.ndarray
    share: np.ndarray
    bias: np.ndarray
    wide: bool

    def spares(self, removed: np.ndarray, outputs_removed: np.ndarray) -> np.ndarray:
        """Input channels that can be removed, bool [C].

        Args:
            removed: input channels to remove, bool [C].
            outputs_removed: output channels that are removed too, bool [O].
        """
        unread = ~self.used[~outputs_removed].any(axis=0)
        spared = unread | self.constant
        bias = self.folded(removed & spared)[~outputs_removed]
        fits = self.wide or bool((np.abs(bias) <= BIAS_LIMIT).all())
        return spared if fits else unread

    def folded(self, removed: np.ndarray) -> np.ndarray:
        """The bias after removing the input channels `removed`, int64 [O]."""
        return np.asarray(self.bias + self.share[:, removed[self.constant]].sum(axis=1))


def reader(node: Node, ranges: Ranges) -> Reader:
    """A convolution without groups, or a dense layer whose depth is a multiple of the input's channels."""
    x = node.input(0)
    codes = node.constant(1)
    rows = codes.reshape(codes.shape[0], -1, x.shape[-1])
    known = ranges[x.name]
    constant = known.constant.copy()
    if isinstance(node.op, Conv2D) and any(axis.padded for axis in node.op.geometry(node)):
        constant &= known.low == x.zero_point
    share = mac.centred(rows[:, :, constant], node.input(1)).sum(axis=1) * (known.low - x.zero_point)[constant]
    used = (rows != node.input(1).zero_point).any(axis=1)
    return Reader(used, constant, share, bias_of(node, len(codes)), node.output.dtype == np.int16)
