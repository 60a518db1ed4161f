"""DEPTHWISE_CONV_2D: every input channel has `multiplier` filters of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinygen.ir.fixed_point import Activation, Rounding
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import LATER, Node
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.window import patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2D(Convolution):
    """Inputs: activations NHWC, weights [1, KH, KW, C * multiplier], optional bias [C * multiplier].

    Output channel c * multiplier + m is filter m of input channel c.

    Attributes:
        upward_channels: this many output channels, from the first, round ties to int8 codes upwards (UPWARDS); the
            others away from zero (TWICE).
    """

    KIND: ClassVar[str] = "depthwise_conv_2d"
    ROUNDING: ClassVar[Rounding] = Rounding.TWICE
    CHANNEL_AXIS: ClassVar[int] = 3

    activation: Activation = Activation.NONE
    upward_channels: int = field(default=0, metadata=LATER, repr=False)

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
        mac.check_encodings(node, channels=outputs, axis=self.CHANNEL_AXIS)
        count = self.upward_channels
        node.require(0 <= count <= outputs, f"{count} of {outputs} channels cannot be rounded upwards")
        node.require(count == 0 or node.output.dtype == np.int8, "only int8 codes can be rounded upwards")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows, columns = self.geometry(node)
        real = node.output.is_float
        kind: type = np.float64 if real else np.int64
        x = values[0] if real else mac.centred(values[0], node.input(0))
        weights = values[1] if real else mac.centred(values[1], node.input(1))
        acc = np.zeros(node.output.shape, kind) + mac.bias_value(node, values)
        windows = patches(x, rows, columns, 0)
        for row in range(rows.kernel):
            for column in range(columns.kernel):
                window: np.ndarray = windows[:, :, :, row, column, :].astype(kind)
                tap: np.ndarray = np.repeat(window, self.multiplier(node), axis=-1)
                acc += tap * weights[0, row, column].astype(kind)
        if real:
            return [mac.clamp_float(acc, self.activation)]
        return [mac.requantize(node, acc, self.activation)]

    def macs(self, node: Node) -> int:
        _, kernel_h, kernel_w, _ = node.input(1).shape
        return node.output.size * kernel_h * kernel_w
