"""SQUARED_DIFFERENCE, POW and ATAN2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier, wrap_int32
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Arithmetic, Binary, SumScales, are_plain

_LEFT_SHIFT = 7


@dataclass(frozen=True, kw_only=True)
class SquaredDifference(Arithmetic):
    """(a - b)**2; int8 codes at a common scale with 7 extra bits, as LiteRT has it. int32 wraps."""

    KIND: ClassVar[str] = "squared_difference"

    def check(self, node: Node) -> None:
        if are_plain(node, np.int32):
            return
        super().check(node)
        if node.output.is_float:
            return
        node.require(node.output.dtype == np.int8, f"{node.output.dtype.name} is not supported")
        reals = self.real_scales(node)
        node.require(all(0 < real < 1 for real in reals), "its scales are too far apart")

    def real_scales(self, node: Node) -> tuple[float, float, float]:
        """Factors of the first operand, the second and the square."""
        a, b = node.input(0).scale, node.input(1).scale
        twice = float(np.float32(2.0) * np.float32(max(a, b)))
        output = float(np.float32(1 << (2 * _LEFT_SHIFT)) * np.float32(node.output.scale))
        return a / twice, b / twice, twice * twice / output

    def scales(self, node: Node) -> SumScales:
        """Multipliers of the integer form."""
        first, second, output = (quantize_multiplier(real) for real in self.real_scales(node))
        return SumScales(_LEFT_SHIFT, first, second, output)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        if are_plain(node, np.int32):
            difference = wrap_int32(values[0].astype(np.int64) - values[1])
            return [wrap_int32(difference * difference).astype(np.int32)]
        return super().evaluate(node, values)

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        difference = a - b
        return np.asarray(difference * difference)

    def integer(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        s = self.scales(node)
        first = multiply_by_quantized_multiplier(a << s.left_shift, *s.first)
        second = multiply_by_quantized_multiplier(b << s.left_shift, *s.second)
        return multiply_by_quantized_multiplier((first - second) ** 2, *s.output)


@dataclass(frozen=True, kw_only=True)
class _OfFloats(Binary):
    """A function of two floats."""

    def check(self, node: Node) -> None:
        node.require(node.output.is_float, f"only float32 is supported, not {node.output.dtype.name}")
        super().check(node)


@dataclass(frozen=True, kw_only=True)
class Pow(_OfFloats):
    """a to the power of b."""

    KIND: ClassVar[str] = "pow"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [np.power(values[0].astype(np.float64), values[1].astype(np.float64)).astype(np.float32)]


@dataclass(frozen=True, kw_only=True)
class Atan2(_OfFloats):
    """The angle of the point (b, a), in radians from -pi to pi."""

    KIND: ClassVar[str] = "atan2"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.arctan2(values[0].astype(np.float64), values[1].astype(np.float64)).astype(np.float32)]
