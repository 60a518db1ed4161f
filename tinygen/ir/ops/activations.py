"""Activations that TensorFlow Lite has not as operators: on codes each is one table.

SiLU: Elfwing et al., "Sigmoid-Weighted Linear Units", 2018; Mish: Misra, "Mish", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.unary import Unary


@dataclass(frozen=True, kw_only=True)
class Silu(Unary):
    """x / (1 + exp(-x))"""

    KIND: ClassVar[str] = "silu"

    def real(self, x: np.ndarray) -> np.ndarray:
        return x * _sigmoid(x)


@dataclass(frozen=True, kw_only=True)
class HardSigmoid(Unary):
    """slope * x + offset, held within 0 and 1; PyTorch's slope is 1/6, its offset 1/2."""

    KIND: ClassVar[str] = "hard_sigmoid"

    slope: float = 1 / 6
    offset: float = 0.5

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(bool(np.isfinite([self.slope, self.offset]).all()), f"{self.slope} x + {self.offset}")

    def real(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x.dtype.type(self.slope) * x + x.dtype.type(self.offset), 0, 1)


@dataclass(frozen=True, kw_only=True)
class Softplus(Unary):
    """log(1 + exp(beta * x)) / beta"""

    KIND: ClassVar[str] = "softplus"

    beta: float = 1.0

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(bool(np.isfinite(self.beta)) and self.beta > 0, "beta must be positive and finite")

    def real(self, x: np.ndarray) -> np.ndarray:
        return _softplus(x * x.dtype.type(self.beta)) / x.dtype.type(self.beta)


@dataclass(frozen=True, kw_only=True)
class Mish(Unary):
    """x * tanh(log(1 + exp(x)))"""

    KIND: ClassVar[str] = "mish"

    def real(self, x: np.ndarray) -> np.ndarray:
        return x * np.tanh(_softplus(x).astype(np.float64)).astype(x.dtype)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Without an overflow, in double precision, rounded to x's own."""
    power = np.exp(-np.abs(x.astype(np.float64)))
    return np.where(x < 0, power, 1.0).astype(x.dtype) / (1 + power).astype(x.dtype)


def _softplus(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    return (np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(wide)))).astype(x.dtype)
