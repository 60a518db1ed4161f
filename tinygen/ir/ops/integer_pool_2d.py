"""Pooling of integer codes: the largest or smallest code of each channel, or sums with an epilogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.sliding import Pooling
from tinygen.ir.ops.window import patches


@dataclass(frozen=True, kw_only=True)
class IntegerPool2D(Pooling):
    """Input: codes NHWC. Taps outside the input do not count."""

    TAKES_BITS: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class IntegerMaxPool2D(IntegerPool2D):
    """The largest code of each window where a channel's sign is 1, the smallest where it is -1.

    A maximum of accumulators is the largest of their codes, or the smallest if codes fall as accumulators rise. For
    single bits these are OR and AND.

    Attributes:
        sign: 1 or -1, one for all channels or one per channel.
    """

    KIND: ClassVar[str] = "integer_max_pool_2d"

    sign: tuple[int, ...] = (1,)

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(len(x.shape) == 4, "input must be NHWC")
        integer_mac.check_activations(node, x)
        node.require(x.encoding == output.encoding, f"input and output differ: {x.encoding}, {output.encoding}")
        node.require(len(self.sign) in (1, x.shape[3]), f"{len(self.sign)} signs for {x.shape[3]} channels")
        node.require(set(self.sign) <= {1, -1}, f"signs {sorted(set(self.sign))}")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        low, high = node.input(0).integer.code_range
        x, geometry = values[0].astype(np.int64), self.geometry(node)
        largest = patches(x, *geometry, low).max(axis=(3, 4))
        smallest = patches(x, *geometry, high).min(axis=(3, 4))
        return [np.where(np.array(self.sign) > 0, largest, smallest).astype(node.output.dtype)]


@dataclass(frozen=True, kw_only=True)
class IntegerSumPool2D(IntegerPool2D):
    """The sum of each window's integers, through an epilogue that may divide it."""

    KIND: ClassVar[str] = "integer_sum_pool_2d"

    epilogue: Epilogue | None = None

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(len(x.shape) == 4, "input must be NHWC")
        integer_mac.check_activations(node, x)
        integer_mac.check_epilogue(node, self.epilogue, x.shape[3])
        largest = integer_mac.largest_integer(x.encoding) * self.kernel[0] * self.kernel[1]
        node.require(largest <= integer_mac.LARGEST, "sums may not fit 32 bits")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        integers = node.input(0).integer.integers(values[0])
        sums = patches(integers, *self.geometry(node), 0).sum(axis=(3, 4))
        return [integer_mac.finish(node, self.epilogue, sums)]
