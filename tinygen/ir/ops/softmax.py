"""SOFTMAX over the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Softmax(Op):
    """Input: int8 or float32, any rank. `beta` scales the exponent.

    LiteRT's int8 kernel looks exp() up in a float table and sums in float, in order; so do we.
    """

    KIND: ClassVar[str] = "softmax"

    beta: float = 1.0

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        node.require(len(x.shape) >= 1, "input must have an axis")
        node.require(bool(np.isfinite(self.beta)), "beta must be finite")
        if x.is_float:
            node.require(output.is_float, "float input needs float output")
            return
        for tensor in (x, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized and tensor.dtype == np.int8, f"'{tensor.name}' is {tensor.encoding}, not int8")

    def exponentials(self, node: Node) -> np.ndarray:
        """exp(-beta * scale * (255 - i)) for i = 0..255, float32: the i-th code below the largest is 255 - i."""
        scale = -np.float32(node.input(0).scale) * np.float32(self.beta)
        return np.exp(scale * np.arange(255, -1, -1).astype(np.float32))

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = values[0].reshape(-1, node.output.shape[-1])
        if node.output.is_float:
            shifted = (x.astype(np.float64) - x.max(axis=1, keepdims=True)) * self.beta
            powers = np.exp(shifted)
            result = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
            return [result.reshape(node.output.shape)]
        powers = self.exponentials(node)[255 - x.max(axis=1, keepdims=True).astype(np.int64) + x]
        # cumsum adds one by one in float32; sum() would add in pairs.
        total = np.cumsum(powers, axis=1, dtype=np.float32)[:, -1:]
        scale = np.float32(1.0) / (total * np.float32(node.output.scale))
        codes = (powers * scale + np.float32(0.5)).astype(np.int64) + node.output.zero_point
        return [np.clip(codes, -128, 127).astype(np.int8).reshape(node.output.shape)]
