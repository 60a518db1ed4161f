"""PRELU: x where x >= 0, alpha * x elsewhere, alpha broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Binary


@dataclass(frozen=True, kw_only=True)
class Prelu(Binary):
    """Inputs: activations and alpha; int8 or float32."""

    KIND: ClassVar[str] = "prelu"

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(node.output.is_float or node.output.dtype == np.int8, "only int8 and float32 are supported")

    def scales(self, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """(multiplier, shift) where x >= 0, and elsewhere."""
        x, alpha, output = node.input(0).scale, node.input(1).scale, node.output.scale
        return quantize_multiplier(x / output), quantize_multiplier(x * alpha / output)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        if node.output.is_float:
            return [np.where(values[0] >= 0, values[0], values[0] * values[1]).astype(np.float32)]
        x = values[0].astype(np.int64) - node.input(0).zero_point
        alpha = values[1].astype(np.int64) - node.input(1).zero_point
        positive, negative = self.scales(node)
        result = np.where(
            x >= 0,
            multiply_by_quantized_multiplier(x, *positive),
            multiply_by_quantized_multiplier(x * alpha, *negative),
        )
        return [np.clip(result + node.output.zero_point, -128, 127).astype(np.int8)]
