"""Elementary functions of one input: roots, powers, logarithms, trigonometry, rounding.

On floats the function of real numbers, rounded; on int8 codes LiteRT's float table where no other rule is given. What
has no real value in integers (the logarithm of a negative number, its root) is LiteRT's code for zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import gemmlowp
from tinygen.ir.fixed_point import (
    INT32_MAX,
    exp_like_libm,
    multiplier_fits,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
)
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.unary import Unary

_EXTRA_BITS = 20
"""Fractional bits of the reciprocal root of int8 codes."""


@dataclass(frozen=True, kw_only=True)
class Exp(Unary):
    """exp(x)"""

    KIND: ClassVar[str] = "exp"
    HALVES: ClassVar[bool] = True

    def real(self, x: np.ndarray) -> np.ndarray:
        return exp_like_libm(x)


@dataclass(frozen=True, kw_only=True)
class Log(Unary):
    """The natural logarithm. Of codes that stand for nothing positive it is the least code."""

    KIND: ClassVar[str] = "log"
    HALVES: ClassVar[bool] = True

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.log(x.astype(np.float64)).astype(x.dtype)

    def tabulated(self, node: Node, x: np.ndarray) -> np.ndarray:
        output = node.output
        least = np.float32(output.code_range[0] - output.zero_point) * np.float32(output.scale)
        return np.where(x <= 0, least, self.real(np.where(x <= 0, np.float32(1), x)))


@dataclass(frozen=True, kw_only=True)
class Sqrt(Unary):
    """The square root.

    Attributes:
        truncated: codes are rounded towards the zero point, as LiteRT's are; else to the nearest.
    """

    KIND: ClassVar[str] = "sqrt"
    HALVES: ClassVar[bool] = True

    truncated: bool = False

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(node.output.dtype != np.int16 or self.truncated, "16-bit codes are rounded towards zero only")
        if not node.output.is_float:
            most = np.sqrt(np.float32(node.input(0).scale) * np.float32(1 << 16)) / np.float32(node.output.scale)
            node.require(multiplier_fits(float(most)), "its scales are too far apart")

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(x, 0) if x.dtype == np.float32 else x)

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        if not self.truncated:
            return super().integer(node, codes)
        x = np.float32(node.input(0).scale) * (codes - node.input(0).zero_point).astype(np.float32)
        root = self.real(x) / np.float32(node.output.scale)
        return np.trunc(root).astype(np.int64) + node.output.zero_point


@dataclass(frozen=True, kw_only=True)
class Rsqrt(Unary):
    """1 / sqrt(x). Of codes that stand for nothing positive it is the largest code."""

    KIND: ClassVar[str] = "rsqrt"
    HALVES: ClassVar[bool] = True

    def real_scales(self, node: Node) -> tuple[float, ...]:
        """One in double precision: of the root of an int8 code's integer."""
        root = np.sqrt(np.float32(node.input(0).scale)) * np.float32(node.output.scale)
        return (float(1.0 / np.float64(root)),)

    def real(self, x: np.ndarray) -> np.ndarray:
        # Two roundings, as LiteRT's.
        return np.float32(1.0) / np.sqrt(x.astype(np.float32))

    def tabulated(self, node: Node, x: np.ndarray) -> np.ndarray:
        largest = np.float32(node.output.code_range[1]) * np.float32(node.output.scale)
        return np.where(x <= 0, largest, self.real(np.where(x <= 0, np.float32(1), x)))

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        """Of int8 codes in fixed point, with 20 fractional bits between."""
        if node.output.dtype == np.int16:
            return super().integer(node, codes)
        centred, zero = codes - node.input(0).zero_point, node.output.zero_point
        multiplier, shift = gemmlowp.inverse_square_root(np.maximum(centred, 1))
        root = multiply_by_quantized_multiplier(np.ones_like(centred), multiplier, shift + _EXTRA_BITS)
        factor, exponent = quantize_multiplier(*self.real_scales(node))
        scaled = multiply_by_quantized_multiplier(root, factor, exponent - _EXTRA_BITS)
        return np.where(centred > 0, scaled + zero, INT32_MAX)


@dataclass(frozen=True, kw_only=True)
class Square(Unary):
    """x * x"""

    KIND: ClassVar[str] = "square"

    def real(self, x: np.ndarray) -> np.ndarray:
        return x * x


@dataclass(frozen=True, kw_only=True)
class Power(Unary):
    """x to the power of a constant.

    Attributes:
        exponent: finite; a float32.
    """

    KIND: ClassVar[str] = "power"

    exponent: float

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.power(x.astype(np.float64), np.float64(np.float32(self.exponent))).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Sin(Unary):
    """sin(x), x in radians"""

    KIND: ClassVar[str] = "sin"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x.astype(np.float64)).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Cos(Unary):
    """cos(x), x in radians"""

    KIND: ClassVar[str] = "cos"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.cos(x.astype(np.float64)).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Erf(Unary):
    """The error function: 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x."""

    KIND: ClassVar[str] = "erf"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.array([math.erf(value) for value in x.reshape(-1).tolist()], x.dtype).reshape(x.shape)


@dataclass(frozen=True, kw_only=True)
class Floor(Unary):
    """The largest integer that is not above x."""

    KIND: ClassVar[str] = "floor"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.floor(x)


@dataclass(frozen=True, kw_only=True)
class Ceil(Unary):
    """The smallest integer that is not below x."""

    KIND: ClassVar[str] = "ceil"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.ceil(x)


@dataclass(frozen=True, kw_only=True)
class Round(Unary):
    """The nearest integer, of two the even one."""

    KIND: ClassVar[str] = "round"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.round(x)


@dataclass(frozen=True, kw_only=True)
class Sign(Unary):
    """1, 0 or -1"""

    KIND: ClassVar[str] = "sign"

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.sign(x)
