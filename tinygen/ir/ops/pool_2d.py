"""AVERAGE_POOL_2D and MAX_POOL_2D. Taps outside the input do not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import Activation, float_activation_range, quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.sliding import Pooling
from tinygen.ir.ops.window import patches


@dataclass(frozen=True, kw_only=True)
class Pool2D(Pooling):
    """Input: activations NHWC, int8, int16 or float32; the output has the input's encoding."""

    activation: Activation = Activation.NONE
    row_padding: tuple[int, int] | None = None
    """Rows of padding (above, below) instead of what `padding` says, for a stripe of a larger operator, or where
    the model gives them."""

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(len(x.shape) == 4, "input must be NHWC")
        node.require(max(self.kernel) <= 4096, f"window {self.kernel} is too large")
        node.require(x.dtype == output.dtype, "input and output must have one type")
        if not x.is_float:
            quantized = isinstance(x.encoding, Affine) and isinstance(output.encoding, Affine)
            node.require(quantized and x.dtype in (np.int8, np.int16), f"{x.encoding} is not int8 or int16")

    def clamp(self, node: Node, result: np.ndarray) -> np.ndarray:
        """The fused activation."""
        if node.output.is_float:
            low, high = float_activation_range(self.activation)
            return np.clip(result, low, high).astype(np.float32)
        bounds = quantized_activation_range(self.activation, node.output)
        return np.clip(result, *bounds).astype(node.output.dtype)

    def macs(self, node: Node) -> int:
        return 0


@dataclass(frozen=True, kw_only=True)
class MaxPool2D(Pool2D):
    """The largest code of each window."""

    KIND: ClassVar[str] = "max_pool_2d"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = values[0]
        lowest = -np.inf if node.output.is_float else np.iinfo(x.dtype).min
        windows = patches(x, *self.geometry(node), lowest)
        return [self.clamp(node, windows.max(axis=(3, 4)))]


@dataclass(frozen=True, kw_only=True)
class AveragePool2D(Pool2D):
    """The mean code of each window, rounded half away from zero."""

    KIND: ClassVar[str] = "average_pool_2d"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, geometry = values[0], self.geometry(node)
        counts = patches(np.ones((1, *x.shape[1:3], 1), np.int64), *geometry, 0).sum(axis=(3, 4))
        if node.output.is_float:
            return [self.clamp(node, patches(x.astype(np.float64), *geometry, 0.0).sum(axis=(3, 4)) / counts)]
        total = patches(x.astype(np.int64), *geometry, 0).sum(axis=(3, 4))
        half = counts // 2
        mean = np.where(total > 0, (total + half) // counts, -((half - total) // counts))
        return [self.clamp(node, mean)]
