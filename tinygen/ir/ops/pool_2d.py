"""Pools: the largest code of each window, or its mean. Taps outside the input do not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation, Rounding, float_activation_range, quantized_activation_range
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.sliding import Sliding
from tinygen.ir.ops.summing import Summing
from tinygen.ir.ops.window import Axis, patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Pool2D(Sliding):
    """Input: activations NHWC, float32 or codes. The window is `kernel`; channels stay what they are."""

    kernel: tuple[int, int]

    def geometry(self, node: Node) -> tuple[Axis, Axis]:
        return self._axes(node, self.kernel, (1, 1))

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        batch, _, _, channels = node.input(0).shape
        return [(batch, rows.output, columns.output, channels)]

    def check(self, node: Node) -> None:
        node.require(len(node.input(0).shape) == 4, "input must be NHWC")
        node.require(max(self.kernel) <= 4096, f"window {self.kernel} is too large")


@dataclass(frozen=True, kw_only=True)
class MaxPool2D(Pool2D):
    """The largest code of each window where a channel's sign is 1, the smallest where it is -1.

    A maximum of accumulators is the largest of their codes, or the smallest if codes fall as accumulators rise. For
    single bits these are OR and AND.

    Attributes:
        activation: fused, of TFLite.
        sign: 1 or -1, one for all channels or one per channel.
    """

    KIND: ClassVar[str] = "max_pool_2d"
    TAKES_BITS: ClassVar[bool] = True

    activation: Activation = Activation.NONE
    sign: tuple[int, ...] = (1,)

    def is_tflite(self, node: Node) -> bool:
        """Whether TFLite has this pool: of the largest floats, or codes of int8 or int16."""
        x = node.input(0)
        affine = isinstance(x.encoding, Affine) and x.dtype in (np.int8, np.int16)
        return set(self.sign) == {1} and (x.is_float or affine)

    def check(self, node: Node) -> None:
        super().check(node)
        x, output = node.input(0), node.output
        affine = isinstance(x.encoding, Affine) and isinstance(output.encoding, Affine) and x.dtype == output.dtype
        same = affine or x.encoding == output.encoding
        node.require(same, f"input and output differ: {x.encoding}, {output.encoding}")
        node.require(len(self.sign) in (1, x.shape[3]), f"{len(self.sign)} signs for {x.shape[3]} channels")
        node.require(set(self.sign) <= {1, -1}, f"signs {sorted(set(self.sign))}")
        if not x.is_float:
            integer_mac.check_activations(node, x)
        plain = self.activation is Activation.NONE
        node.require(plain or affine or x.is_float, f"{x.encoding} has no fused activation")
        node.require(set(self.sign) == {1} or (plain and not x.is_float), "only the largest of integers are clamped")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, geometry = values[0], self.geometry(node)
        low, high = (-np.inf, np.inf) if node.output.is_float else node.input(0).code_range
        largest = patches(x, *geometry, low).max(axis=(3, 4))
        smallest = patches(x, *geometry, high).min(axis=(3, 4))
        return [_clamped(node, np.where(np.array(self.sign) > 0, largest, smallest), self.activation)]


@dataclass(frozen=True, kw_only=True)
class AveragePool2D(Summing, Pool2D):
    """With TFLite's epilogue the mean code or float of each window, rounded half away from zero; or upwards (UPWARDS),
    as codes of uint8 are that became int8. With another one, the sum of its integers, which the epilogue may divide.
    """

    KIND: ClassVar[str] = "average_pool_2d"

    def check(self, node: Node) -> None:
        super().check(node)
        x, output = node.input(0), node.output
        if not isinstance(self.epilogue, Tflite):
            integer_mac.check_activations(node, x)
            integer_mac.check_epilogue(node, self.epilogue, x.shape[3])
            largest = integer_mac.largest_integer(x.encoding) * self.kernel[0] * self.kernel[1]
            node.require(largest <= integer_mac.LARGEST, "sums may not fit 32 bits")
            return
        node.require(x.dtype == output.dtype, "input and output must have one type")
        plain = self.epilogue in (Tflite(self.activation), Tflite(self.activation, Rounding.UPWARDS))
        node.require(plain, "means are rounded away from zero, or upwards")
        node.require(not self.upwards or x.dtype == np.int8, "only int8 means are rounded upwards")
        quantized = isinstance(x.encoding, Affine) and isinstance(output.encoding, Affine)
        types = (np.int8, np.int16)
        node.require(x.is_float or (quantized and x.dtype in types), f"{x.encoding} is not int8 or int16")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, geometry = values[0], self.geometry(node)
        if not self.is_tflite:
            sums = patches(node.input(0).integer.integers(x), *geometry, 0).sum(axis=(3, 4))
            return [integer_mac.finish(node, self.of_sums, sums)]
        counts = patches(np.ones((1, *x.shape[1:3], 1), np.int64), *geometry, 0).sum(axis=(3, 4))
        if node.output.is_float:
            mean = patches(x.astype(np.float64), *geometry, 0.0).sum(axis=(3, 4)) / counts
            return [_clamped(node, mean, self.activation)]
        total = patches(x.astype(np.int64), *geometry, 0).sum(axis=(3, 4))
        return [_clamped(node, self.quotient(total, counts), self.activation)]

    @property
    def upwards(self) -> bool:
        """Whether means of codes are rounded upwards."""
        return isinstance(self.epilogue, Tflite) and self.epilogue.rounding is Rounding.UPWARDS

    def quotient(self, sums: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
        """Means of so many codes, rounded, as integers."""
        half = np.asarray(counts) // 2
        if self.upwards:
            return (sums + half) // counts
        return np.where(sums > 0, (sums + half) // counts, -((half - sums) // counts))


def _clamped(node: Node, result: np.ndarray, activation: Activation) -> np.ndarray:
    """The fused activation."""
    if node.output.is_float:
        low, high = float_activation_range(activation)
        return np.clip(result, low, high).astype(np.float32)
    bounds = quantized_activation_range(activation, node.output)
    return np.clip(result, *bounds).astype(node.output.dtype)
