"""Confidence of a classifier in its largest logit; early exits compare it with a threshold.

All three measures rise with confidence. With d = (largest code - code) of each class and s the logits' scale:

- `Margin`: the largest minus the second largest code, so margin / s in codes;
- `MaxProbability`: 1 / sum of exp(-s d), with 15 fractional bits;
- `NegativeEntropy`: -(ln S + sum of s d exp(-s d) / S), S being that sum, in nats with 15 fractional bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape

BITS = 15
"""Fractional bits of probabilities, exponentials and logarithms."""
ONE = 1 << BITS
MOST_CLASSES = (1 << 15) - 1
"""Sums of as many exponentials have 30 bits."""
LOGARITHM_BITS = 8
"""Bits of a mantissa, behind the leading one, that the table of logarithms knows."""
LN_2 = round(ONE * float(np.log(2.0)))


@dataclass(frozen=True, kw_only=True)
class Confidence(Op):
    """Input: logits [..., classes], int8, one scale. Output: int32 [...], one score per row."""

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape[:-1]]

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        fits = isinstance(x.encoding, Affine) and not x.encoding.per_channel and x.dtype == np.int8
        node.require(fits and len(x.shape) > 0, f"logits are int8 of one scale, not {x.encoding}")
        node.require(2 <= x.shape[-1] <= MOST_CLASSES, f"2 to {MOST_CLASSES} classes, not {x.shape[-1:]}")
        wanted = self.encoding(x.scale)
        node.require(output.encoding == wanted, f"the output is {wanted}, not {output.encoding}")

    @staticmethod
    @abstractmethod
    def encoding(scale: float) -> Affine:
        """Encoding of the output, for logits of this scale."""

    @staticmethod
    @abstractmethod
    def of(codes: np.ndarray, scale: float) -> np.ndarray:
        """Scores, int32 [...], of int8 logits [..., classes] of this scale."""

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.of(values[0], node.input(0).scale)]


@dataclass(frozen=True, kw_only=True)
class Margin(Confidence):
    """The largest minus the second largest code; 0 for a tie."""

    KIND: ClassVar[str] = "margin"

    @staticmethod
    def encoding(scale: float) -> Affine:
        return Affine("int32", (scale,), (0,))

    @staticmethod
    def of(codes: np.ndarray, scale: float) -> np.ndarray:
        top = np.sort(codes.astype(np.int32), axis=-1)[..., -2:]
        return np.asarray(top[..., 1] - top[..., 0])


@dataclass(frozen=True, kw_only=True)
class MaxProbability(Confidence):
    """floor(2^30 / S), S being the sum of `exponentials`: the largest probability of a softmax."""

    KIND: ClassVar[str] = "max_probability"

    @staticmethod
    def encoding(scale: float) -> Affine:
        return Affine("int32", (1.0 / ONE,), (0,))

    @staticmethod
    def of(codes: np.ndarray, scale: float) -> np.ndarray:
        sums = exponentials(scale)[_below(codes)].sum(axis=-1)
        return np.asarray((1 << 2 * BITS) // sums).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class NegativeEntropy(Confidence):
    """Minus the entropy of a softmax: -(logarithm(S) + (W * floor(2^30 / S) >> 15)), W the sum of `weighted`.

    The logarithm's table has steps of 1/256, an error of at most 0.004 nats.
    """

    KIND: ClassVar[str] = "negative_entropy"

    @staticmethod
    def encoding(scale: float) -> Affine:
        return Affine("int32", (1.0 / ONE,), (0,))

    @staticmethod
    def of(codes: np.ndarray, scale: float) -> np.ndarray:
        below = _below(codes)
        sums, weights = exponentials(scale)[below].sum(axis=-1), weighted(scale)[below].sum(axis=-1)
        mean = (weights * ((1 << 2 * BITS) // sums)) >> BITS
        # frexp is exact for integers of 30 bits.
        places = np.frexp(sums.astype(np.float64))[1].astype(np.int64) - 1
        mantissa = (sums >> (places - LOGARITHM_BITS)) - (1 << LOGARITHM_BITS)
        return np.asarray(-((places - BITS) * LN_2 + logarithms()[mantissa] + mean)).astype(np.int32)


def _below(codes: np.ndarray) -> np.ndarray:
    """Distance in codes of each logit below the largest of its row."""
    wide = codes.astype(np.int64)
    return np.asarray(wide.max(axis=-1, keepdims=True) - wide)


def exponentials(scale: float) -> np.ndarray:
    """round(2^15 exp(-scale d)) for d = 0 .. 255; int64."""
    return np.rint(ONE * np.exp(-scale * np.arange(256.0))).astype(np.int64)


def weighted(scale: float) -> np.ndarray:
    """round(2^15 scale d exp(-scale d)) for d = 0 .. 255; int64. At most 2^15 / e."""
    real = scale * np.arange(256.0)
    return np.rint(ONE * real * np.exp(-real)).astype(np.int64)


def logarithms() -> np.ndarray:
    """round(2^15 ln(1 + i / 256)) for i = 0 .. 255; int64."""
    steps = 1 << LOGARITHM_BITS
    return np.rint(ONE * np.log1p(np.arange(steps) / steps)).astype(np.int64)
