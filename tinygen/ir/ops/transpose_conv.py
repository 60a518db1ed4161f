"""TRANSPOSE_CONV: every input element adds a scaled filter to the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.window import Axis, Padding, axis
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class TransposeConv(MacLayer):
    """Activations NHWC, weights OHWI; the epilogue is TFLite's.

    Attributes:
        size: (H, W) of the output.
        padding: of the forward convolution that this one transposes, a rule; what it pads is cropped from the output.
        row_padding, column_padding: the same as elements (before, after); override the rule.
    """

    KIND: ClassVar[str] = "transpose_conv"

    size: tuple[int, int]
    padding: Padding
    stride: tuple[int, int]
    row_padding: tuple[int, int] | None = None
    column_padding: tuple[int, int] | None = None

    def geometry(self, node: Node) -> tuple[Axis, Axis]:
        """(rows, columns) of the forward convolution that this one transposes: from output to input."""
        _, kernel_h, kernel_w, _ = node.input(1).shape
        return (
            axis(self.size[0], kernel_h, self.stride[0], 1, self.padding, self.row_padding),
            axis(self.size[1], kernel_w, self.stride[1], 1, self.padding, self.column_padding),
        )

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        batch, height, width, _ = node.input(0).shape
        if (rows.output, columns.output) != (height, width):
            raise ModelError(f"an output of {self.size} does not come from {height}x{width}", where=node.describe())
        return [(batch, *self.size, node.input(1).shape[0])]

    def check(self, node: Node) -> None:
        depth = node.input(1).shape[3]
        node.require(node.input(0).shape[3] == depth, f"{depth} channels of weights")
        node.require(max(self.size) <= 1 << 15, f"output size {self.size}")
        node.require(self.is_tflite, "its epilogue is not TFLite's")
        super().check(node)

    def sums(self, node: Node, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        rows, columns = self.geometry(node)
        batch, height, width, depth = x.shape
        found = np.zeros((batch, *self.size, weights.shape[0]), x.dtype)
        flat = x.reshape(-1, depth)
        for ky in range(rows.kernel):
            for kx in range(columns.kernel):
                product = mac.product(flat, weights[:, ky, kx, :].T).reshape(batch, height, width, -1)
                y, first_y, last_y = scattered(rows, ky, self.size[0])
                z, first_z, last_z = scattered(columns, kx, self.size[1])
                found[:, y][:, :, z] += product[:, first_y:last_y, first_z:last_z]
        return found

    def macs(self, node: Node) -> int:
        outputs, kernel_h, kernel_w, _ = node.input(1).shape
        return node.input(0).size * outputs * kernel_h * kernel_w


def scattered(geometry: Axis, tap: int, size: int) -> tuple[slice, int, int]:
    """Of one axis: output positions that a tap reaches, and the range of input positions that reach them."""
    start = tap - geometry.before
    first = (geometry.stride - 1 - start) // geometry.stride if start < 0 else 0
    last = min((size - 1 - start) // geometry.stride + 1, geometry.output)
    last = max(last, first)
    begin = start + first * geometry.stride
    return slice(begin, begin + (last - first) * geometry.stride, geometry.stride), first, last
