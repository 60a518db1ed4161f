"""FULLY_CONNECTED: output[n, o] = sum_i input[n, i] * weights[o, i] + bias[o]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinygen.ir.fixed_point import Activation, Rounding
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import LATER, Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class FullyConnected(Op):
    """Inputs: activations [..., I] (flattened to [N, I]), weights [O, I], optional bias [O].

    Attributes:
        rounding: of accumulators to int8 codes, the same for all channels: REAL or UPWARDS.
    """

    KIND: ClassVar[str] = "fully_connected"

    activation: Activation = Activation.NONE
    keep_dims: bool = False
    rounding: Rounding = field(default=Rounding.REAL, metadata=LATER, repr=False)

    def infer_shapes(self, node: Node) -> list[Shape]:
        outputs, depth = node.input(1).shape
        shape = node.input(0).shape
        if self.keep_dims:
            return [(*shape[:-1], outputs)]
        return [(node.input(0).size // depth, outputs)]

    def check(self, node: Node) -> None:
        outputs, depth = node.input(1).shape
        node.require(node.input(0).size % depth == 0, f"input elements are not a multiple of the depth {depth}")
        mac.check_encodings(node, channels=outputs, axis=0)
        mac.require_words(node)
        choices = (Rounding.REAL, Rounding.UPWARDS)
        node.require(self.rounding in choices, f"sums cannot be rounded '{self.rounding.value}'")
        plain = self.rounding is Rounding.REAL
        node.require(plain or node.output.dtype == np.int8, "only int8 codes can be rounded upwards")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        weights = values[1]
        x = values[0].reshape(-1, weights.shape[1])
        if node.output.is_float:
            acc = mac.float_matmul(x, weights.T) + mac.bias_value(node, values)
            result = mac.clamp_float(acc, self.activation)
        else:
            acc = mac.integer_matmul(mac.centred(x, node.input(0)), mac.centred(weights, node.input(1)).T)
            acc = acc + mac.bias_value(node, values)
            result = mac.requantize(node, acc, self.activation)
        return [result.reshape(node.output.shape)]

    def macs(self, node: Node) -> int:
        return node.output.size * node.input(1).shape[1]
