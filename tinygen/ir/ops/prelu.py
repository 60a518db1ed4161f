"""PRELU: x where x >= 0, alpha * x elsewhere, alpha broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Binary


@dataclass(frozen=True, kw_only=True)
class Prelu(Binary):
    """Inputs: activations and alpha; int8 or float32, or int16 with an alpha of int8."""

    KIND: ClassVar[str] = "prelu"

    def check(self, node: Node) -> None:
        x, alpha, output = node.input(0), node.input(1), node.output
        if output.dtype == np.int16:
            node.require(x.dtype == np.int16 and alpha.dtype == np.int8, "16-bit codes need an alpha of int8")
            for tensor in (x, alpha, output):
                quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
                node.require(quantized, f"'{tensor.name}' ({tensor.encoding}) is not quantized per tensor")
            node.require(x.zero_point == output.zero_point == 0, "16-bit codes must have zero point 0")
        else:
            super().check(node)
        node.require(node.input(0).shape == node.output.shape, "alpha has more elements than the input")
        if not node.output.is_float:
            node.require_multipliers(self.real_scales(node))

    def real_scales(self, node: Node) -> tuple[float, float]:
        """Output codes per input code for x >= 0 and for x < 0; LiteRT computes them in single precision."""
        x, alpha, output = (np.float32(t.scale) for t in (node.input(0), node.input(1), node.output))
        with np.errstate(over="ignore", under="ignore"):
            return float(x / output), float(x * alpha / output)

    def scales(self, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """The same as (multiplier, shift)."""
        positive, negative = self.real_scales(node)
        return quantize_multiplier(positive), quantize_multiplier(negative)

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
        output = node.output
        return [np.clip(result + output.zero_point, *output.code_range).astype(output.dtype)]
