"""Normalization at run time: LayerNorm, GroupNorm, InstanceNorm, RMSNorm.

No format that tinygen reads defines integer arithmetic for it; this one divides by nothing. With n codes v of a group,
counted from the zero point, S their sum and Q the sum of their squares, n v - S is n times the distance from the mean,
and n Q - S^2 is n^2 times the variance: both are exact. With s the input's scale,

    (x - mean) / sqrt(variance + epsilon) = (n v - S) / sqrt(D),    D = n Q - S^2 + n^2 epsilon / s^2

where D gets up to 16 fractional bits for epsilon's sake. `inverse_root` takes the root of D to 24 bits; a multiplier
per channel holds gain and output scale, an offset per channel the rest. Compared with float64 on the same codes, a
result is off by less than 0.001 codes of int8 and 0.02 of int16 before it is rounded (see its differential test).

Sources: Ba et al., "Layer Normalization", 2016; Ulyanov et al., "Instance Normalization", 2016; Wu and He, "Group
Normalization", 2018; Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape, Tensor

FIRST, SLOPE = 2290044350, 1308601373
"""1 / sqrt(u) for 1/4 <= u < 1 is about FIRST - SLOPE u, with 30 fractional bits: the least relative error, 0.086."""
STEPS = 3
"""Newton's: 24 bits are right then."""
_WIDEST = 2.0**62
_FRACTION = 16
_FRACTION_BITS = {"int8": 20, "int16": 14}
"""At most, before results are rounded: so that an offset that does not fit into 32 bits saturates the code anyway."""
_LEAST_BITS = 4


@dataclass(frozen=True, eq=False)
class Scaling:
    """Constants of the integer form.

    Attributes:
        count: elements of a group (n).
        zero: what codes are counted from: the zero point, or 0 where the mean is subtracted and it cancels.
        fraction: fractional bits of D; even.
        epsilon: n^2 epsilon / s^2, with these.
        shift: how far n v - S is shifted left, before the exponent of the root is subtracted.
        bits: fractional bits of the result before it is rounded.
        gain: multipliers, int64 holding int32, in the gain's shape, or [1].
        offset: what is added to the product, rounding and zero point included; in the offset's shape, or [1].
    """

    count: int
    zero: int
    fraction: int
    epsilon: int
    shift: int
    bits: int
    gain: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Normalization(Op):
    """(x - mean) / sqrt(variance + epsilon) * gain + offset, over each group of elements.

    Inputs: int8, int16 or float32; gain and offset, float32 constants that broadcast to the input. Both may be absent.

    Attributes:
        axes: the dimensions of a group, sorted: the last ones of LayerNorm, rows and columns of InstanceNorm.
        epsilon: added to the variance.
        groups: the last axis, one of `axes`, falls into so many groups (GroupNorm).
        centred: whether the mean is subtracted; RMSNorm does not, and its variance is the mean square.
    """

    KIND: ClassVar[str] = "normalization"

    axes: tuple[int, ...]
    epsilon: float
    groups: int = 1
    centred: bool = True

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        if 1 in self.axes or self.varies_along(node, 1):
            return None
        return Stripe(self, ((first, end), *[None] * (len(node.inputs) - 1)))

    def varies_along(self, node: Node, axis: int) -> bool:
        """Whether gain or offset differ along this dimension of the input."""
        rank = len(node.output.shape)
        shapes = ((1,) * (rank - len(t.shape)) + t.shape for t in self.parameters(node) if t is not None)
        return any(shape[axis] > 1 for shape in shapes)

    def parameters(self, node: Node) -> tuple[Tensor | None, Tensor | None]:
        """Gain and offset."""
        return node.optional(1), node.optional(2)

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        rank = len(x.shape)
        sane = list(self.axes) == sorted(set(self.axes)) and self.axes and 0 <= self.axes[0] <= self.axes[-1] < rank
        node.require(bool(sane), f"axes {self.axes} of {rank} dimensions")
        grouped = self.groups == 1 or (self.axes[-1] == rank - 1 and x.shape[-1] % max(self.groups, 1) == 0)
        node.require(self.groups >= 1 and grouped, f"{self.groups} groups of its last dimension")
        node.require(math.isfinite(self.epsilon) and self.epsilon >= 0, f"epsilon is {self.epsilon}")
        for tensor in self.parameters(node):
            if tensor is not None:
                node.require(tensor.is_constant and tensor.is_float, f"'{tensor.name}' must be a constant of float32")
                fits = len(tensor.shape) <= rank and np.broadcast_shapes(tensor.shape, x.shape) == x.shape
                node.require(fits, f"'{tensor.name}' does not broadcast to the input")
        node.require(x.dtype == output.dtype, "input and output must have one type")
        if not x.is_float:
            self._check_codes(node)

    def _check_codes(self, node: Node) -> None:
        for tensor in (node.input(0), node.output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized, f"'{tensor.name}' ({tensor.encoding}) is not quantized per tensor")
            node.require(tensor.dtype in (np.int8, np.int16), f"{tensor.dtype.name} is not supported")
        count = self.count(node)
        small = count * (2 * self.largest(node)) < 2**31
        node.require(small and self._bound(node) < _WIDEST, f"groups of {count} elements are too large")
        finite = all(np.isfinite(np.asarray(t.data)).all() for t in self.parameters(node) if t is not None)
        node.require(finite, "gain and offset must be finite")
        node.require(self.scaling(node).bits >= _LEAST_BITS, "its scales are too far apart")

    def split(self, shape: Shape, rank: int) -> Shape:
        """A shape that broadcasts to the input, with `rank` dimensions and the last one split into groups."""
        full = (1,) * (rank - len(shape)) + shape
        if self.groups == 1:
            return full
        return (*full[:-1], 1, 1) if full[-1] == 1 else (*full[:-1], self.groups, full[-1] // self.groups)

    def reduced(self, rank: int) -> tuple[int, ...]:
        """`axes`, counted in what `split` gives."""
        return self.axes if self.groups == 1 else (*self.axes[:-1], rank)

    def count(self, node: Node) -> int:
        """Elements of a group."""
        shape = node.input(0).shape
        return math.prod(shape[axis] for axis in self.axes) // self.groups

    def largest(self, node: Node) -> int:
        """The largest distance of a code from what codes are counted from."""
        low, high = node.input(0).code_range
        zero = self._zero(node)
        return max(high - zero, zero - low)

    def _zero(self, node: Node) -> int:
        return 0 if self.centred else node.input(0).zero_point

    def _bound(self, node: Node) -> float:
        """What D is below, without fractional bits."""
        count = self.count(node)
        return 1.0 + (count * self.largest(node)) ** 2 + count**2 * self.epsilon / node.input(0).scale ** 2

    def most(self, node: Node) -> int:
        """What D is at most, with its fractional bits."""
        return math.ceil(self._bound(node) * 2.0 ** self.scaling(node).fraction)

    def scaling(self, node: Node) -> Scaling:
        """Constants of the integer form."""
        x, output, count = node.input(0), node.output, self.count(node)
        fraction = min(_FRACTION, 2 * (math.floor(math.log2(_WIDEST / self._bound(node))) // 2))
        gain, offset = (None if t is None else np.asarray(t.data, np.float64) for t in self.parameters(node))
        factors = (np.ones(1) if gain is None else gain) / output.scale
        spread = math.ceil(math.log2(count) / 2)
        largest = float(np.abs(factors).max())
        power = _FRACTION_BITS[output.dtype.name] + 4 + spread
        if largest > 0:
            power = min(power, 30 - math.floor(math.log2(largest * (1 + 2.0**-31))))
        bits = power - 4 - spread
        added = (np.zeros(1) if offset is None else offset) / output.scale + output.zero_point + 0.5
        limit = 2.0**31 - 2.0**28
        return Scaling(
            count=count,
            zero=self._zero(node),
            fraction=fraction,
            epsilon=round(count**2 * self.epsilon / x.scale**2 * 2.0**fraction),
            shift=14 + fraction // 2 - spread,
            bits=bits,
            gain=np.round(factors * 2.0**power).astype(np.int64),
            offset=np.clip(np.round(added * 2.0**bits), -limit, limit).astype(np.int64),
        )

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        shape = node.input(0).shape
        rank = len(shape)
        x, axes = values[0].reshape(self.split(shape, rank)), self.reduced(rank)
        if node.output.is_float:
            return [self._real(x.astype(np.float64), axes, values[1:], rank).astype(np.float32).reshape(shape)]
        scaling = self.scaling(node)
        gain, offset = (each.reshape(self.split(each.shape, rank)) for each in (scaling.gain, scaling.offset))
        v = x.astype(np.int64) - scaling.zero
        total = v.sum(axis=axes, keepdims=True) if self.centred else np.zeros(1, np.int64)
        squares = (v * v).sum(axis=axes, keepdims=True)
        spread = (scaling.count * squares - total * total << scaling.fraction) + scaling.epsilon
        root, exponent = inverse_root(spread)
        shift = np.minimum(scaling.shift - exponent, 30)
        away = scaling.count * v - total >> np.maximum(-shift, 0) << np.maximum(shift, 0)
        codes = (away * (root * gain >> 32) >> 32) + offset >> scaling.bits
        return [np.clip(codes, *node.output.code_range).astype(node.output.dtype).reshape(shape)]

    def _real(self, x: np.ndarray, axes: tuple[int, ...], parameters: Sequence[np.ndarray], rank: int) -> np.ndarray:
        away = x - x.mean(axis=axes, keepdims=True) if self.centred else x
        variance = (away**2).mean(axis=axes, keepdims=True) + self.epsilon
        result = away / np.sqrt(np.where(variance > 0, variance, 1.0))
        for index, values in enumerate(parameters):
            if values.size:
                operand = values.astype(np.float64).reshape(self.split(values.shape, rank))
                result = result + operand if index else result * operand
        return result


def inverse_root(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(root, exponent) with 1 / sqrt(x) ~= root * 2**(-46 - exponent), for integers from 1 to 2**62; 0 is taken as 1.

    x is m 4**exponent with m from 2**30 to 2**32 - 1; the root, from 2**30 to 2**31 - 1, is that of m.
    """
    x = np.maximum(np.asarray(x, np.int64), 1)
    size = _bit_length(x)
    exponent = size - 31 >> 1
    m = (x >> np.maximum(2 * exponent, 0) << np.maximum(-2 * exponent, 0)).astype(np.uint64)
    thirty, thirty_one, thirty_two = (np.uint64(count) for count in (30, 31, 32))
    root = np.uint64(FIRST) - (m * np.uint64(SLOPE) >> thirty_two)
    for _ in range(STEPS):
        square = (m * root >> thirty_two) * root >> thirty_one
        root = root * (np.uint64(3 << 29) - square) >> thirty
    return root.astype(np.int64), exponent


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Of positive integers below 2**63; exact, where a float's exponent might be one more."""
    high = x >> 31
    wide = high > 0
    return np.frexp(np.where(wide, high, x).astype(np.float64))[1].astype(np.int64) + 31 * wide
