"""DEPTHWISE_CONV_2D: every input channel has `multiplier` filters of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.window import patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D(MacLayer, Convolution):
    """Activations NHWC, weights [1, KH, KW, C * multiplier], bias [C * multiplier]; the epilogue is TFLite's.

    Output channel c * multiplier + m is filter m of input channel c. With another epilogue such a layer is a Conv2D of
    as many groups as channels.
    """

    KIND: ClassVar[str] = "depthwise_conv_2d"
    CHANNEL_AXIS: ClassVar[int] = 3

    def multiplier(self, node: Node) -> int:
        return node.input(1).shape[3] // node.input(0).shape[3]

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        return [(node.input(0).shape[0], rows.output, columns.output, node.input(1).shape[3])]

    def check(self, node: Node) -> None:
        one, _, _, outputs = node.input(1).shape
        channels = node.input(0).shape[3]
        node.require(one == 1, f"weights must have shape [1, H, W, C], not {list(node.input(1).shape)}")
        node.require(outputs % channels == 0, f"{outputs} filters over {channels} channels")
        node.require(self.is_tflite, "its epilogue is not TFLite's")
        super().check(node)

    def sums(self, node: Node, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        rows, columns = self.geometry(node)
        found = np.zeros(node.output.shape, x.dtype)
        windows = patches(x, rows, columns, 0)
        for row in range(rows.kernel):
            for column in range(columns.kernel):
                tap: np.ndarray = np.repeat(windows[:, :, :, row, column, :], self.multiplier(node), axis=-1)
                found += tap * weights[0, row, column]
        return found

    def macs(self, node: Node) -> int:
        _, kernel_h, kernel_w, _ = node.input(1).shape
        return node.output.size * kernel_h * kernel_w
