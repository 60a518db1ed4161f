"""Which input channels a layer of products does not need, and what constant ones add to its accumulators.

A bias absorbs it, or an epilogue: see `integer_channels.moved`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.sliding import Convolution
from tinygen.passes.integer_channels import moved
from tinygen.passes.mac_ranges import Known, bias_of, integers_of, weights_of

BIAS_LIMIT = 2**30
"""Folded biases stay within: kernels fold the zero point in as well, and 32-bit accumulators must not overflow."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer as reader of its input channels.

    Attributes:
        node: the layer.
        used: whether output o has a weight other than 0 on input channel c, bool [O, C].
        constant: input channels that act as a constant on every output element, bool [C].
        share: what each constant channel adds to each accumulator, int64 [O, constant channels].
    """

    node: Node
    used: np.ndarray
    constant: np.ndarray
    share: np.ndarray

    def spares(self, removed: np.ndarray, outputs_removed: np.ndarray) -> np.ndarray:
        """Input channels that can be removed, bool [C].

        Args:
            removed: input channels to remove, bool [C].
            outputs_removed: output channels that are removed too, bool [O].
        """
        kept = ~outputs_removed
        unread = ~self.used[kept].any(axis=0)
        spared = unread | self.constant
        return spared if self._absorbs(self.added(removed & spared), kept) else unread

    def added(self, removed: np.ndarray) -> np.ndarray:
        """What the channels in `removed` add to the accumulators, int64 [O]."""
        return np.asarray(self.share[:, removed[self.constant]].sum(axis=1))

    def _absorbs(self, added: np.ndarray, kept: np.ndarray) -> bool:
        """Whether the bias or the epilogue can hold it."""
        op = self.node.op
        assert isinstance(op, MacLayer)
        if op.is_tflite:
            fits = np.abs(bias_of(self.node, len(added)) + added) <= BIAS_LIMIT
            return self.node.output.dtype == np.int16 or bool(fits[kept].all())
        if op.of_sums is None:
            return not added[kept].any()
        return not moved(op.of_sums, added).problem(len(added))


def reader(node: Node, known: Known) -> Reader:
    """A convolution without groups, or a dense layer whose depth is a multiple of the input's channels."""
    weights = weights_of(node)
    rows = weights.reshape(len(weights), -1, node.input(0).shape[-1])
    low, high = integers_of(node.input(0), known)
    constant = low == high
    if isinstance(node.op, Convolution) and any(axis.padded for axis in node.op.geometry(node)):
        constant = constant & (low == 0)
    share = rows[:, :, constant].sum(axis=1) * low[constant]
    return Reader(node, (rows != 0).any(axis=1), constant, share)
