"""CONV_2D, also grouped: a window times a filter per output channel."""

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
class Conv2D(Convolution):
    """Inputs: activations NHWC, weights OHWI (I = input channels / groups), optional bias [O].

    Attributes:
        rounding: of accumulators to int8 codes, the same for all channels: TWICE or UPWARDS.
    """

    KIND: ClassVar[str] = "conv_2d"
    CHANNEL_AXIS: ClassVar[int] = 0

    activation: Activation = Activation.NONE
    rounding: Rounding = field(default=Rounding.TWICE, metadata=LATER, repr=False)

    def groups(self, node: Node) -> int:
        return node.input(0).shape[3] // node.input(1).shape[3]

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        return [(node.input(0).shape[0], rows.output, columns.output, node.input(1).shape[0])]

    def check(self, node: Node) -> None:
        outputs, _, _, depth = node.input(1).shape
        channels = node.input(0).shape[3]
        node.require(channels % depth == 0, f"{channels} input channels do not divide into groups of {depth}")
        node.require(outputs % (channels // depth) == 0, f"{outputs} filters in {channels // depth} groups")
        mac.check_encodings(node, channels=outputs, axis=self.CHANNEL_AXIS)
        choices = (Rounding.TWICE, Rounding.UPWARDS)
        node.require(self.rounding in choices, f"sums cannot be rounded '{self.rounding.value}'")
        plain = self.rounding is Rounding.TWICE
        node.require(plain or node.output.dtype == np.int8, "only int8 codes can be rounded upwards")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows, columns = self.geometry(node)
        groups = self.groups(node)
        real = node.output.is_float
        x = values[0] if real else mac.centred(values[0], node.input(0))
        weights = values[1] if real else mac.centred(values[1], node.input(1))
        windows = patches(x, rows, columns, 0)
        depth, filters = weights.shape[3], weights.shape[0] // groups
        sums = []
        for group in range(groups):
            taps = windows[..., group * depth : (group + 1) * depth].reshape(*windows.shape[:3], -1)
            kernel = weights[group * filters : (group + 1) * filters].reshape(filters, -1).T
            sums.append(mac.float_matmul(taps, kernel) if real else mac.integer_matmul(taps, kernel))
        acc = np.concatenate(sums, axis=-1) + mac.bias_value(node, values)
        if real:
            return [mac.clamp_float(acc, self.activation)]
        return [mac.requantize(node, acc, self.activation)]

    def macs(self, node: Node) -> int:
        _, kernel_h, kernel_w, depth = node.input(1).shape
        return node.output.size * kernel_h * kernel_w * depth
