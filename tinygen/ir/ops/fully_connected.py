"""FULLY_CONNECTED: output[n, o] = sum_i input[n, i] * weights[o, i] + bias[o]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.fixed_point import Rounding
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class FullyConnected(MacLayer):
    """Activations [..., I] (flattened to [N, I]), weights [O, I]."""

    KIND: ClassVar[str] = "fully_connected"
    ROUNDING: ClassVar[Rounding] = Rounding.REAL

    keep_dims: bool = False

    def infer_shapes(self, node: Node) -> list[Shape]:
        outputs, depth = node.input(1).shape
        shape = node.input(0).shape
        if self.keep_dims:
            return [(*shape[:-1], outputs)]
        return [(node.input(0).size // depth, outputs)]

    def check(self, node: Node) -> None:
        depth = node.input(1).shape[1]
        node.require(node.input(0).size % depth == 0, f"input elements are not a multiple of the depth {depth}")
        super().check(node)
        if self.is_tflite:
            mac.require_words(node)

    def sums(self, node: Node, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return mac.product(x.reshape(-1, weights.shape[1]), weights.T).reshape(node.output.shape)

    def macs(self, node: Node) -> int:
        return node.output.size * node.input(1).shape[1]
