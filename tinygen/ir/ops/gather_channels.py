"""Gather: the live channels of activations that have all channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.channel_lists import check_list
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class GatherChannels(Op):
    """Inputs: activations [..., C], a list of k of their channels. Output: [..., k], in the same encoding: what a
    residual connection adds to the live channels of a layer.
    """

    KIND: ClassVar[str] = "gather_channels"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [(*node.input(0).shape[:-1], node.input(1).size)]

    def check(self, node: Node) -> None:
        x, y = node.input(0), node.output
        check_list(node, 1, channels=x.shape[-1], live=node.input(1).size)
        node.require(y.encoding == x.encoding, f"'{y.name}' is {y.encoding}, '{x.name}' {x.encoding}")
        node.require(x.dtype.itemsize == 1, f"'{x.name}' is {x.dtype.name}, not of bytes")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [values[0][..., values[1].reshape(-1)]]
