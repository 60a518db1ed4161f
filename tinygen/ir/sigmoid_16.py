"""LOGISTIC and TANH of int16 codes, as LiteRT has them: interpolated in one table, since tanh(x) = 2 sigmoid(2 x) - 1.

Source: tflite/kernels/internal/reference/integer_ops/logistic.h and tanh.h, `SigmoidPrepare` and `TanhPrepare` of
tflite/kernels/activations.cc.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_RAISED = 1 << 255 | 0x800011009020440005C0467BAEFA7BD110
"""Bit i: whether entry i of the table is one more than the rounded value."""
_UNIT = 4096.0 * 3.0
"""The table has 24 entries per unit of x, each for 2**9 scaled codes: 2**12 * 3."""
_LIMIT = 65535


def table() -> np.ndarray:
    """sigmoid(i / 24) * 2**16 for i = 0 ... 255, uint16 [256]."""
    exact = (65536.0 / (1.0 + math.exp(-i / 24.0)) for i in range(256))
    return np.array([min(round(x) + (_RAISED >> i & 1), 65535) for i, x in enumerate(exact)], np.uint16)


@dataclass(frozen=True)
class Scaling:
    """How codes become places in the table: (code * multiplier + half) >> shift."""

    multiplier: int
    shift: int

    @property
    def half(self) -> int:
        return (1 << self.shift) >> 1

    @property
    def fits(self) -> bool:
        """Whether 32 bits hold what is scaled."""
        return 0 < self.multiplier <= _LIMIT


def scaling(scale: float, most_shift: int) -> Scaling:
    """For codes of a scale.

    Args:
        scale: of the input.
        most_shift: the largest k for which a scale of 2**(k - 12) is taken as a power of two: 0 of LOGISTIC, 1 of TANH.
    """
    logarithm = np.log(np.float32(scale)) * (np.float32(1.0) / np.log(np.float32(2.0)))
    exponent = int(np.floor(logarithm + np.float32(0.5)))
    if abs(logarithm - np.float32(exponent)) < np.float32(1e-3) and 0 <= 12 + exponent <= most_shift:
        return Scaling(3 << (12 + exponent), 0)
    multiplier, shift = scale * _UNIT, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        shift += 1
        multiplier *= 2.0
    return Scaling(int(multiplier), shift)


def _interpolated(codes: np.ndarray, scaling: Scaling, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(scaled codes, the table at their magnitude times 2**bits)."""
    scaled = (codes * scaling.multiplier + scaling.half) >> scaling.shift
    magnitude = np.abs(scaled)
    known = table().astype(np.int64)
    place = np.minimum(magnitude >> bits, 254)
    rest = magnitude & ((1 << bits) - 1)
    return scaled, (known[place] << bits) + rest * (known[place + 1] - known[place])


def logistic(codes: np.ndarray, scaling: Scaling) -> np.ndarray:
    """1 / (1 + exp(-x)), codes of scale 2**-15."""
    scaled, found = _interpolated(codes, scaling, 9)
    found = np.where(np.abs(scaled) >> 9 >= 255, 0x7FFF << 10, found)
    return np.where(scaled >= 0, found + 512, (1 << 25) - found + 511) >> 10


def tanh(codes: np.ndarray, scaling: Scaling) -> np.ndarray:
    """tanh(x), codes of scale 2**-15."""
    scaled, found = _interpolated(codes, scaling, 8)
    found = np.where(np.abs(scaled) >> 8 >= 255, 0xFFFF << 8, found) - (1 << 23)
    return np.where(scaled >= 0, found + 128, -found + 127) >> 8
