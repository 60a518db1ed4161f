"""MEAN, REDUCE_MAX, REDUCE_MIN and ARG_MAX, ARG_MIN: over one or several axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier, wrap_int32
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Reduce(Op):
    """Input: int8, int16 or float32. `axes` are non-negative and sorted."""

    axes: tuple[int, ...]
    keep_dims: bool

    def infer_shapes(self, node: Node) -> list[Shape]:
        shape = node.input(0).shape
        if self.keep_dims:
            return [tuple(1 if i in self.axes else size for i, size in enumerate(shape))]
        return [tuple(size for i, size in enumerate(shape) if i not in self.axes)]

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        rank = len(x.shape)
        node.require(all(0 <= axis < rank for axis in self.axes), f"axes {self.axes} of {rank} dimensions")
        node.require(x.dtype == output.dtype, "input and output must have one type")
        if not x.is_float:
            quantized = isinstance(x.encoding, Affine) and isinstance(output.encoding, Affine)
            node.require(quantized and x.dtype in (np.int8, np.int16), f"{x.encoding} is not supported")

    def count(self, node: Node) -> int:
        """Number of elements reduced to one."""
        return math.prod(node.input(0).shape[axis] for axis in self.axes)


@dataclass(frozen=True, kw_only=True)
class Mean(Reduce):
    """The mean. Integers: the sum is scaled by a multiplier that includes the division."""

    KIND: ClassVar[str] = "mean"

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(node.output.is_float or node.output.dtype == np.int8, "only int8 and float32 are supported")
        if not node.output.is_float:
            node.require_multipliers([node.input(0).scale / node.output.scale])

    def scale(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift) of the centred sum: the division by the count keeps as many bits as fit."""
        multiplier, shift = quantize_multiplier(node.input(0).scale / node.output.scale)
        count = self.count(node)
        extra = min(count.bit_length() - 1, 32, 31 + shift)
        return (multiplier << extra) // count, shift - extra

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        shape = node.output.shape
        if node.output.is_float:
            return [values[0].astype(np.float64).mean(axis=self.axes).astype(np.float32).reshape(shape)]
        total = (values[0].astype(np.int64) - node.input(0).zero_point).sum(axis=self.axes)
        scaled = multiply_by_quantized_multiplier(wrap_int32(total), *self.scale(node))
        return [np.clip(scaled + node.output.zero_point, -128, 127).astype(np.int8).reshape(shape)]


@dataclass(frozen=True, kw_only=True)
class ReduceMax(Reduce):
    """The largest code; the encoding stays."""

    KIND: ClassVar[str] = "reduce_max"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [values[0].max(axis=self.axes).reshape(node.output.shape)]


@dataclass(frozen=True, kw_only=True)
class ReduceMin(Reduce):
    """The smallest code; the encoding stays."""

    KIND: ClassVar[str] = "reduce_min"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [values[0].min(axis=self.axes).reshape(node.output.shape)]


@dataclass(frozen=True, kw_only=True)
class ArgMax(Op):
    """Index of the first largest element along `axis`; output int32 or int64."""

    KIND: ClassVar[str] = "arg_max"
    LARGEST: ClassVar[bool] = True

    axis: int

    def infer_shapes(self, node: Node) -> list[Shape]:
        shape = node.input(0).shape
        return [shape[: self.axis] + shape[self.axis + 1 :]]

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(0 <= self.axis < len(x.shape), f"axis {self.axis} of {len(x.shape)} dimensions")
        node.require(x.is_float or x.dtype == np.int8, f"{x.dtype.name} input is not supported")
        node.require(node.output.dtype in (np.int32, np.int64), "output must be int32 or int64")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        pick = np.argmax if self.LARGEST else np.argmin
        return [pick(values[0], axis=self.axis).astype(node.output.dtype)]


@dataclass(frozen=True, kw_only=True)
class ArgMin(ArgMax):
    """Index of the first smallest element along `axis`."""

    KIND: ClassVar[str] = "arg_min"
    LARGEST: ClassVar[bool] = False
