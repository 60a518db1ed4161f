"""MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ANY, REDUCE_ALL and ARG_MAX, ARG_MIN: over any axes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine, Plain
from tinygen.ir.fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_64,
    quantize_multiplier,
    wrap_int32,
)
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape

_MOST_PROD_SHIFT = 7


@dataclass(frozen=True, kw_only=True)
class Reduce(Op):
    """Input: float32, int8 or int16 codes, or integers without a scale. `axes` are non-negative and sorted."""

    REAL: ClassVar[bool] = True
    """Whether floats and codes with a scale are reduced, too."""
    PLAIN: ClassVar[tuple[type, ...]] = (np.int32, np.int64)
    """Types without a scale."""

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
        if x.is_float:
            node.require(self.REAL, f"{x.encoding} is not supported")
        elif isinstance(x.encoding, Plain) and isinstance(output.encoding, Plain):
            node.require(x.dtype in self.PLAIN, f"{x.encoding} without a scale is not supported")
        else:
            quantized = isinstance(x.encoding, Affine) and isinstance(output.encoding, Affine)
            known = quantized and x.dtype in (np.int8, np.int16) and self.REAL
            node.require(known, f"{x.encoding} is not supported")
            self.check_codes(node)

    def check_codes(self, node: Node) -> None:
        """Further rules of codes with a scale."""

    def count(self, node: Node) -> int:
        """Number of elements reduced to one."""
        return math.prod(node.input(0).shape[axis] for axis in self.axes)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, output = values[0], node.output
        if output.is_float:
            with np.errstate(all="ignore"):
                found = self.of_floats(x.astype(np.float64)).astype(np.float32)
        elif isinstance(output.encoding, Plain):
            found = self.of_integers(node, x)
        else:
            codes = self.of_codes(node, x.astype(np.int64))
            found = np.clip(codes, *output.code_range).astype(output.dtype)
        return [found.reshape(output.shape)]

    @abstractmethod
    def of_floats(self, x: np.ndarray) -> np.ndarray:
        """In double precision, before it is rounded."""

    @abstractmethod
    def of_integers(self, node: Node, x: np.ndarray) -> np.ndarray:
        """Of integers that stand for themselves; their type stays."""

    @abstractmethod
    def of_codes(self, node: Node, codes: np.ndarray) -> np.ndarray:
        """Of codes with a scale, int64; not yet clamped."""


@dataclass(frozen=True, kw_only=True)
class _Scaled(Reduce):
    """A sum that is scaled; that of codes has 32 bits."""

    def check_codes(self, node: Node) -> None:
        node.require_multipliers([node.input(0).scale / node.output.scale])

    def scale(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift) of the centred sum."""
        return quantize_multiplier(node.input(0).scale / node.output.scale)

    def of_codes(self, node: Node, codes: np.ndarray) -> np.ndarray:
        total = (codes - node.input(0).zero_point).sum(axis=self.axes)
        return multiply_by_quantized_multiplier(wrap_int32(total), *self.scale(node)) + node.output.zero_point


@dataclass(frozen=True, kw_only=True)
class Mean(_Scaled):
    """The mean. Codes: the sum is scaled by a multiplier that includes the division; other integers: towards zero."""

    KIND: ClassVar[str] = "mean"

    def scale(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift) of the centred sum: the division by the count keeps as many bits as fit."""
        multiplier, shift = super().scale(node)
        count = self.count(node)
        extra = min(count.bit_length() - 1, 32, 31 + shift)
        return (multiplier << extra) // count, shift - extra

    def of_floats(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.mean(axis=self.axes))

    def of_integers(self, node: Node, x: np.ndarray) -> np.ndarray:
        total = x.astype(np.int64).sum(axis=self.axes)
        return np.asarray(np.sign(total) * (np.abs(total) // self.count(node))).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Sum(_Scaled):
    """The sum; of integers without a scale it wraps.

    Codes as LiteRT's reference kernel means it, and TFLM's computes it: LiteRT's own reads signed codes as unsigned
    ones (kernels/reduce.cc, `QuantizedMeanOrSum`), and is right for uint8 alone.
    """

    KIND: ClassVar[str] = "sum"

    def of_floats(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.sum(axis=self.axes))

    def of_integers(self, node: Node, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.sum(axis=self.axes, dtype=x.dtype))


@dataclass(frozen=True, kw_only=True)
class Prod(Reduce):
    """The product, in the order of elements. Codes are rescaled behind every product; other integers wrap."""

    KIND: ClassVar[str] = "prod"
    PLAIN: ClassVar[tuple[type, ...]] = (np.int8, np.int16, np.int32, np.int64)

    def check_codes(self, node: Node) -> None:
        node.require_multipliers([self.real_scale(node)])
        fits = self.scale(node)[1] <= _MOST_PROD_SHIFT
        node.require(fits, f"an output scale of {node.output.scale:.3g} is too small for products of these operands")

    def real_scale(self, node: Node) -> float:
        """What each element is scaled by: input scale / output scale**(1 / count)."""
        return float(node.input(0).scale / node.output.scale ** (1.0 / self.count(node)))

    def scale(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift)"""
        return quantize_multiplier(self.real_scale(node))

    def of_floats(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.prod(axis=self.axes))

    def of_integers(self, node: Node, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.prod(axis=self.axes, dtype=x.dtype))

    def of_codes(self, node: Node, codes: np.ndarray) -> np.ndarray:
        kept = [axis for axis in range(codes.ndim) if axis not in self.axes]
        centred = codes - node.input(0).zero_point
        rows = centred.transpose(*kept, *self.axes).reshape(-1, self.count(node))
        product, scale = rows[:, 0], self.scale(node)
        for column in rows.T[1:]:
            product = wrap_int32(multiply_by_quantized_multiplier_64(product * column, *scale))
        return wrap_int32(multiply_by_quantized_multiplier_64(product, *scale)) + node.output.zero_point


@dataclass(frozen=True, kw_only=True)
class _Chosen(Reduce):
    """One of the elements; the encoding stays."""

    def of_integers(self, node: Node, x: np.ndarray) -> np.ndarray:
        return self.of_floats(x)

    def of_codes(self, node: Node, codes: np.ndarray) -> np.ndarray:
        return self.of_floats(codes)


@dataclass(frozen=True, kw_only=True)
class ReduceMax(_Chosen):
    """The largest element."""

    KIND: ClassVar[str] = "reduce_max"

    def of_floats(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.max(axis=self.axes))


@dataclass(frozen=True, kw_only=True)
class ReduceMin(_Chosen):
    """The smallest element."""

    KIND: ClassVar[str] = "reduce_min"

    def of_floats(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.min(axis=self.axes))


@dataclass(frozen=True, kw_only=True)
class ReduceAny(_Chosen):
    """Whether one of the elements is true."""

    KIND: ClassVar[str] = "reduce_any"
    REAL: ClassVar[bool] = False
    PLAIN: ClassVar[tuple[type, ...]] = (np.bool_,)

    def of_floats(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.any(axis=self.axes))


@dataclass(frozen=True, kw_only=True)
class ReduceAll(_Chosen):
    """Whether all of the elements are true."""

    KIND: ClassVar[str] = "reduce_all"
    REAL: ClassVar[bool] = False
    PLAIN: ClassVar[tuple[type, ...]] = (np.bool_,)

    def of_floats(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.all(axis=self.axes))


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
        known = x.is_float or x.dtype in (np.int8, np.int32, np.bool_)
        node.require(known, f"{x.dtype.name} input is not supported")
        node.require(node.output.dtype in (np.int32, np.int64), "output must be int32 or int64")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        pick = np.argmax if self.LARGEST else np.argmin
        return [pick(values[0], axis=self.axis).astype(node.output.dtype)]


@dataclass(frozen=True, kw_only=True)
class ArgMin(ArgMax):
    """Index of the first smallest element along `axis`."""

    KIND: ClassVar[str] = "arg_min"
    LARGEST: ClassVar[bool] = False
