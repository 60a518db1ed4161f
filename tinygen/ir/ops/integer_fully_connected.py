"""Dense layer on integer codes of any encoding; an epilogue gives the output's codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops import integer_mac, mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class IntegerFullyConnected(Op):
    """Inputs: activations [..., I] (flattened to [N, I]), weights [O, I], optional kernel scales [O, I]."""

    KIND: ClassVar[str] = "integer_fully_connected"
    TAKES_BITS: ClassVar[bool] = True

    epilogue: Epilogue | None = None

    def infer_shapes(self, node: Node) -> list[Shape]:
        outputs, depth = node.input(1).shape
        return [(node.input(0).size // depth, outputs)]

    def check(self, node: Node) -> None:
        outputs, depth = node.input(1).shape
        node.require(node.input(0).size % depth == 0, f"input elements are not a multiple of the depth {depth}")
        integer_mac.check_mac(node, self.epilogue, outputs=outputs)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        weights = integer_mac.scaled_weights(node, node.input(1).integer.integers(values[1]))
        x = node.input(0).integer.integers(values[0]).reshape(-1, weights.shape[1])
        return [integer_mac.finish(node, self.epilogue, mac.integer_matmul(x, weights.T))]

    def macs(self, node: Node) -> int:
        return node.output.size * node.input(1).shape[1]
