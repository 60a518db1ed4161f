"""Convolution of integer codes of any encoding, also grouped; an epilogue gives the output's codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops import integer_mac, mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.window import patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class IntegerConv2D(Convolution):
    """Inputs: activations NHWC, weights OHWI (I = input channels / groups), optional kernel scales [O, I]."""

    KIND: ClassVar[str] = "integer_conv_2d"
    TAKES_BITS: ClassVar[bool] = True

    epilogue: Epilogue | None = None

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
        integer_mac.check_mac(node, self.epilogue, outputs=outputs)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        weights = integer_mac.scaled_weights(node, node.input(1).integer.integers(values[1]))
        windows = patches(node.input(0).integer.integers(values[0]), *self.geometry(node), 0)
        depth, filters = weights.shape[3], weights.shape[0] // self.groups(node)
        sums = []
        for group in range(self.groups(node)):
            taps = windows[..., group * depth : (group + 1) * depth].reshape(*windows.shape[:3], -1)
            kernel = weights[group * filters : (group + 1) * filters].reshape(filters, -1).T
            sums.append(mac.integer_matmul(taps, kernel))
        return [integer_mac.finish(node, self.epilogue, np.concatenate(sums, axis=-1))]

    def macs(self, node: Node) -> int:
        _, kernel_h, kernel_w, depth = node.input(1).shape
        return node.output.size * kernel_h * kernel_w * depth
