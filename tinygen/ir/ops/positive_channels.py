"""The channels whose scores are positive; their number depends on the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine, ChannelList
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class PositiveChannels(Op):
    """Input: scores [1, C], int8 or int32. Output: a counted list [1, C + 1]: the number n of channels with a score
    above 0, their indices in ascending order, then zeros.

    A channel is live if round(sigmoid(score)) = 1, that is, score > 0; a score of 0 gives 0.5, which rounds to even:
    dead (Elkerdawy 2022, section 6.2.4, "dynamic signature").
    """

    KIND: ClassVar[str] = "positive_channels"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [(1, node.input(0).shape[-1] + 1)]

    def check(self, node: Node) -> None:
        x, channels = node.input(0), node.input(0).size
        signed = isinstance(x.encoding, Affine) and not x.affine.per_channel and x.dtype in (np.int8, np.int32)
        node.require(signed, f"scores are int8 or int32 of one scale, not {x.encoding}")
        node.require(x.size == x.shape[-1], f"one row of scores, not {x.describe()}")
        wanted = ChannelList(channels, counted=True)
        node.require(node.output.encoding == wanted, f"the output is {wanted}, not {node.output.encoding}")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        live = np.flatnonzero(values[0].reshape(-1) > node.input(0).zero_point)
        found = np.zeros(node.output.shape, np.int16)
        found[0, 0], found[0, 1 : 1 + live.size] = live.size, live
        return [found]
