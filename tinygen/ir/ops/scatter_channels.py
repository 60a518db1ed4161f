"""Scatter: live channels among dead ones, which are zero, for operators without channel lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.channel_lists import check_list, zero_code
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class ScatterChannels(Op):
    """Inputs: activations [..., k], the list of their channels among C. Output: [..., C] in the same encoding, dead
    channels have the code of zero. For residual sums, layers that flatten, and heads that read all channels.
    """

    KIND: ClassVar[str] = "scatter_channels"

    def infer_shapes(self, node: Node) -> list[Shape]:
        live = node.input(1).encoding
        return [(*node.input(0).shape[:-1], live.of if isinstance(live, ChannelList) else 0)]

    def check(self, node: Node) -> None:
        x, y = node.input(0), node.output
        node.require(isinstance(node.input(1).encoding, ChannelList), f"'{node.input(1).name}' is no list of channels")
        check_list(node, 1, channels=y.shape[-1], live=x.shape[-1])
        node.require(y.encoding == x.encoding, f"'{y.name}' is {y.encoding}, '{x.name}' {x.encoding}")
        node.require(x.dtype.itemsize == 1, f"'{x.name}' is {x.dtype.name}, not of bytes")
        node.require(zero_code(x) is not None, f"{x.encoding} has no code of zero")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        full = np.full(node.output.shape, zero_code(node.output), node.output.dtype)
        full[..., values[1].reshape(-1)] = values[0]
        return [full]
