"""DIV, FLOOR_DIV and FLOOR_MOD: quotients and remainders of two operands.

The integer arithmetic is that of TFLite's reference kernels. Where an integer is divided by 0, LiteRT ends the
inference; here the divisor of a quotient is taken as 1, and floored quotients and remainders are 0. Where a quantized
quotient is below half a code, LiteRT may shift a word of 32 bits by more than 31, which is undefined in C++: here it is
0. So is what it makes of the least integer over -1: here that saturates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Plain
from tinygen.ir.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    float_activation_range,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)
from tinygen.ir.gemmlowp import leading_zeros, reciprocal
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Arithmetic, Binary, are_plain

_LARGEST = float(np.finfo(np.float32).max)
_MOST_SHIFT = {1: 23, 2: 15}
"""Of the output's multiplier, by bytes of a code: what is left of a quotient's own bits is shifted to the right."""


@dataclass(frozen=True, kw_only=True)
class Div(Arithmetic):
    """a / b; of int32 towards zero."""

    KIND: ClassVar[str] = "div"

    def check(self, node: Node) -> None:
        if are_plain(node, np.int32):
            return
        super().check(node)
        if not node.output.is_float:
            node.require_multipliers([self.real_scale(node)])
            shift, most = self.scale(node)[1], _MOST_SHIFT[node.output.dtype.itemsize]
            node.require(shift <= most, f"an output scale of {node.output.scale:.3g} is too small for these operands")

    def real_scale(self, node: Node) -> float:
        """first scale / (second scale * output scale); LiteRT forms it in single precision."""
        a, b, c = (np.float32(t.scale) for t in (node.input(0), node.input(1), node.output))
        with np.errstate(all="ignore"):
            return float(a / (b * c))

    def scale(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift)"""
        return quantize_multiplier(self.real_scale(node))

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        if isinstance(node.output.encoding, Plain):
            a, b = (value.astype(np.int64) for value in values)
            bounds = np.clip(float_activation_range(self.activation), INT32_MIN, INT32_MAX).astype(np.int64)
            return [np.clip(_truncated(a, np.where(b == 0, 1, b)), *bounds).astype(np.int32)]
        return super().evaluate(node, values)

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            # Without an activation, LiteRT clamps to finite numbers.
            return np.clip(a / b, -_LARGEST, _LARGEST)

    def integer(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """A product with the reciprocal of |b|, with as many bits as a leaves."""
        a, b = np.where(b < 0, -a, a), np.maximum(np.abs(b), 1)
        inverse, over = reciprocal(b, 31)
        headroom = np.where(a == 0, 31, leading_zeros(np.abs(a) * 2 - (a < 0)))
        quotient = saturating_rounding_doubling_high_mul(wrap_int32(a << headroom), inverse)
        multiplier, shift = self.scale(node)
        right = over + headroom - shift
        scaled = saturating_rounding_doubling_high_mul(quotient, multiplier)
        # Beyond 31 bits, LiteRT's shift is undefined in C++.
        return np.where(right > 31, 0, rounding_divide_by_pot(scaled, np.minimum(right, 31)))


def _truncated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quotients of integers, towards zero."""
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


@dataclass(frozen=True, kw_only=True)
class _Floored(Binary):
    """Of floats, or of int8, int16 and int32 codes as they are stored, whatever their scale."""

    def check(self, node: Node) -> None:
        a, b, output = node.input(0), node.input(1), node.output
        node.require(a.dtype == b.dtype == output.dtype, "operands and output must have one type")
        known = output.is_float or output.dtype in (np.int8, np.int16, np.int32)
        node.require(known, f"{output.dtype.name} is not supported")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = values
        with np.errstate(all="ignore"):
            if node.output.is_float:
                return [self.of_floats(a, b)]
            some = np.where(b == 0, 1, b).astype(np.int64)
            codes = np.where(b == 0, 0, self.of_integers(a.astype(np.int64), some))
        return [np.clip(codes, *node.output.code_range).astype(node.output.dtype)]

    @abstractmethod
    def of_floats(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Of float32, float32."""

    @abstractmethod
    def of_integers(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Of int64, b not 0."""


@dataclass(frozen=True, kw_only=True)
class FloorDiv(_Floored):
    """The largest integer that is not above a / b."""

    KIND: ClassVar[str] = "floor_div"

    def of_floats(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.floor(a.astype(np.float64) / b.astype(np.float64)).astype(np.float32)

    def of_integers(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(a // b)


@dataclass(frozen=True, kw_only=True)
class FloorMod(_Floored):
    """a - b * floor(a / b): the remainder with the sign of b."""

    KIND: ClassVar[str] = "floor_mod"

    def of_floats(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        rest = np.fmod(a, b)
        return np.where((rest != 0) & ((b < 0) != (rest < 0)), rest + b, rest)

    def of_integers(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(a % b)
