"""Mask: unlisted channels of activations that have all channels become zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.channel_lists import check_list, zero_code
from tinygen.ir.ops.masked_conv_2d import counted
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class MaskChannels(Op):
    """Inputs: activations [..., C], a list of some of their channels, counted or not. Output: [..., C], in the same
    encoding; channels that are not listed have the code of zero.

    After a layer that computes all of its channels, this gives what `MaskedConv2D` gives, and what `ScatterChannels`
    makes of the output of a `GatherConv2D`.
    """

    KIND: ClassVar[str] = "mask_channels"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x, live, y = node.input(0), node.input(1), node.output
        encoding = live.encoding
        node.require(isinstance(encoding, ChannelList), f"'{live.name}' is no list of channels")
        if isinstance(encoding, ChannelList) and encoding.counted:
            node.require(encoding.of == x.shape[-1], f"'{live.name}' is {encoding}, not of {x.shape[-1]} channels")
            node.require(live.size == encoding.of + 1, f"a counted list has {encoding.of + 1} elements")
            node.require(live.data is None, "a list is a constant: remove the other channels instead")
        else:
            check_list(node, 1, channels=x.shape[-1], live=live.size)
        node.require(y.encoding == x.encoding, f"'{y.name}' is {y.encoding}, '{x.name}' {x.encoding}")
        node.require(x.dtype.itemsize == 1, f"'{x.name}' is {x.dtype.name}, not of bytes")
        node.require(zero_code(x) is not None, f"{x.encoding} has no code of zero")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        encoding = node.input(1).encoding
        assert isinstance(encoding, ChannelList)
        live = counted(values[1], encoding.of) if encoding.counted else values[1].reshape(-1)
        masked = np.full(node.output.shape, zero_code(node.output), node.output.dtype)
        masked[..., live] = values[0][..., live]
        return [masked]
