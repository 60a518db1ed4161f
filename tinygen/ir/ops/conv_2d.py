"""CONV_2D, also grouped: a window times a filter per output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.window import patches
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Conv2D(MacLayer, Convolution):
    """Activations NHWC, weights OHWI (I = input channels / groups)."""

    KIND: ClassVar[str] = "conv_2d"

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
        super().check(node)

    def sums(self, node: Node, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        windows = patches(x, *self.geometry(node), 0)
        depth, filters = weights.shape[3], weights.shape[0] // self.groups(node)
        parts = []
        for group in range(self.groups(node)):
            taps = windows[..., group * depth : (group + 1) * depth].reshape(*windows.shape[:3], -1)
            kernel = weights[group * filters : (group + 1) * filters].reshape(filters, -1).T
            parts.append(mac.product(taps, kernel))
        return np.concatenate(parts, axis=-1)

    def macs(self, node: Node) -> int:
        _, kernel_h, kernel_w, depth = node.input(1).shape
        return node.output.size * kernel_h * kernel_w * depth
