"""ADD, SUB, MUL, MAXIMUM, MINIMUM: two operands, broadcast as NumPy does.

The integer arithmetic is that of TFLite's reference kernels: ADD and SUB bring both operands to a
common scale with extra fractional bits (20 for int8, 15 for int16), then rescale the sum. Older 16-bit models have a
flag for scales that are powers of two; those only shift one operand.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine, Float32, Plain
from tinygen.ir.fixed_point import (
    Activation,
    float_activation_range,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    quantized_activation_range,
    rounding_divide_by_pot,
)
from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Binary(Op):
    """Inputs: two tensors of one type whose shapes broadcast."""

    def infer_shapes(self, node: Node) -> list[Shape]:
        try:
            return [np.broadcast_shapes(node.input(0).shape, node.input(1).shape)]
        except ValueError as error:
            raise ModelError(f"its operands do not broadcast ({error})", where=node.describe()) from error

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        rank, height = len(node.output.shape), node.output.shape[1]
        reads: list[tuple[int, int] | None] = []
        for shape in (node.input(0).shape, node.input(1).shape):
            whole = len(shape) < rank - 1 or shape[1 - rank] == 1 < height
            if not whole and len(shape) < rank:
                return None
            reads.append(None if whole else (first, end))
        return Stripe(self, tuple(reads))

    def check(self, node: Node) -> None:
        a, b, output = node.input(0), node.input(1), node.output
        node.require(a.dtype == b.dtype == output.dtype, "operands and output must have one type")
        if is_unscaled(node):
            return
        for tensor in (a, b, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized, f"'{tensor.name}' ({tensor.encoding}) is not quantized per tensor")
        node.require(output.dtype in (np.int8, np.int16), f"{output.dtype.name} is not supported")
        if output.dtype == np.int16:
            zero = a.zero_point == b.zero_point == output.zero_point == 0
            node.require(zero, "16-bit operands must have zero point 0")


def is_unscaled(node: Node) -> bool:
    """Whether operands and output are floats, or int32 or int64 that stand for themselves."""
    encoding = node.output.encoding
    own = encoding in (Float32(), Plain("int32"), Plain("int64"))
    return own and node.input(0).encoding == node.input(1).encoding == encoding


def are_plain(node: Node, *types: type) -> bool:
    """Whether operands and output are integers of one of these types that stand for themselves."""
    tensors = (node.input(0), node.input(1), node.output)
    return all(isinstance(t.encoding, Plain) for t in tensors) and any(
        all(t.dtype == one for t in tensors) for one in types
    )


@dataclass(frozen=True, kw_only=True)
class Arithmetic(Binary):
    """A binary operator with a fused activation. Integers without a scale wrap, as LiteRT's do."""

    activation: Activation = Activation.NONE

    def clamp(self, node: Node, result: np.ndarray) -> np.ndarray:
        if is_unscaled(node):
            return np.clip(result, *self.own_range(node)).astype(node.output.dtype)
        bounds = quantized_activation_range(self.activation, node.output)
        return np.clip(result + node.output.zero_point, *bounds).astype(node.output.dtype)

    def own_range(self, node: Node) -> tuple[float, float]:
        """The activation's bounds for what has no scale; those of integers lie within their type."""
        low, high = float_activation_range(self.activation)
        if node.output.is_float:
            return low, high
        info = np.iinfo(node.output.dtype)
        return int(max(low, info.min)), int(min(high, info.max))

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = values[0], values[1]
        if is_unscaled(node):
            with np.errstate(all="ignore"):
                return [self.clamp(node, self.real(a, b))]
        a = a.astype(np.int64) - node.input(0).zero_point
        b = b.astype(np.int64) - node.input(1).zero_point
        return [self.clamp(node, self.integer(node, a, b))]

    @abstractmethod
    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The operator on floats, and on integers that wrap."""

    @abstractmethod
    def integer(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The operator on centred codes; gives centred codes of the output, not yet clamped."""


@dataclass(frozen=True)
class SumScales:
    """How ADD and SUB rescale their operands.

    Attributes:
        left_shift: fractional bits added to both operands.
        first, second, output: (multiplier, shift) of each rescaling.
    """

    left_shift: int
    first: tuple[int, int]
    second: tuple[int, int]
    output: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Add(Arithmetic):
    """a + b

    Attributes:
        power_of_two: shift 16-bit operands instead of multiplying them, if all three scales are powers of two.
    """

    KIND: ClassVar[str] = "add"
    SIGN: ClassVar[int] = 1

    power_of_two: bool = False

    def check(self, node: Node) -> None:
        super().check(node)
        if is_unscaled(node):
            return
        shifts = self.shifts(node)
        if shifts is None:
            reals = self.real_scales(node)
            node.require_multipliers(reals)
            node.require(all(real > 0 for real in reals), "its scales are too far apart")
            fits = self.scales(node).output[1] <= 0
            node.require(fits, f"an output scale of {node.output.scale:.3g} is too small for these operands")
            return
        shape = node.output.shape
        node.require(node.input(0).shape == node.input(1).shape == shape, "power-of-two scales do not broadcast")
        wanted = min(shifts) == 0 and max(shifts) <= 15
        node.require(wanted, f"power-of-two scales that want right shifts by {shifts[0]} and {shifts[1]}")

    def shifts(self, node: Node) -> tuple[int, int] | None:
        """Right shifts of the operands if scales are powers of two; None if operands are multiplied."""
        if not self.power_of_two or node.output.dtype != np.int16:
            return None
        exponents = [math.log2(tensor.scale) for tensor in (node.input(0), node.input(1), node.output)]
        if any(abs(exponent - round(exponent)) >= 1e-3 for exponent in exponents):
            return None
        a, b, output = (round(exponent) for exponent in exponents)
        return output - a, output - b

    def left_shift(self, node: Node) -> int:
        """Fractional bits added to both operands."""
        return 20 if node.output.dtype == np.int8 else 15

    def real_scales(self, node: Node) -> tuple[float, float, float]:
        """Factors of the first operand, the second and the output; LiteRT doubles and shifts in single precision."""
        a, b = node.input(0).scale, node.input(1).scale
        with np.errstate(over="ignore"):
            twice = float(np.float32(2.0) * np.float32(max(a, b)))
            output = float(np.float32(1 << self.left_shift(node)) * np.float32(node.output.scale))
        return a / twice, b / twice, twice / output

    def scales(self, node: Node) -> SumScales:
        """Multipliers of the integer form."""
        first, second, output = (quantize_multiplier(real) for real in self.real_scales(node))
        return SumScales(self.left_shift(node), first, second, output)

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + self.SIGN * b

    def integer(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        shifts = self.shifts(node)
        if shifts is not None:
            return rounding_divide_by_pot(a, shifts[0]) + self.SIGN * rounding_divide_by_pot(b, shifts[1])
        s = self.scales(node)
        first = multiply_by_quantized_multiplier(a << s.left_shift, *s.first)
        second = multiply_by_quantized_multiplier(b << s.left_shift, *s.second)
        return multiply_by_quantized_multiplier(first + self.SIGN * second, *s.output)


@dataclass(frozen=True, kw_only=True)
class Sub(Add):
    """a - b"""

    KIND: ClassVar[str] = "sub"
    SIGN: ClassVar[int] = -1


@dataclass(frozen=True, kw_only=True)
class Mul(Arithmetic):
    """a * b"""

    KIND: ClassVar[str] = "mul"

    def check(self, node: Node) -> None:
        super().check(node)
        if not is_unscaled(node):
            node.require_multipliers([self.real_scale(node)])

    def real_scale(self, node: Node) -> float:
        """first scale * second scale / output scale; LiteRT forms it in single precision."""
        a, b, c = (np.float32(t.scale) for t in (node.input(0), node.input(1), node.output))
        with np.errstate(over="ignore", under="ignore"):
            return float(a * b / c)

    def scale(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift)"""
        return quantize_multiplier(self.real_scale(node))

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b

    def integer(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return multiply_by_quantized_multiplier(a * b, *self.scale(node))


@dataclass(frozen=True, kw_only=True)
class Extremum(Binary):
    """The larger or smaller code; all three tensors share one encoding. Of booleans these are "or" and "and"."""

    def check(self, node: Node) -> None:
        if all(tensor.encoding == Plain("bool") for tensor in (node.input(0), node.input(1), node.output)):
            return
        super().check(node)
        if not is_unscaled(node):
            same = all(node.input(i).encoding == node.output.encoding for i in (0, 1))
            node.require(same, "operands and output must have one scale and zero point")


@dataclass(frozen=True, kw_only=True)
class Maximum(Extremum):
    """max(a, b)"""

    KIND: ClassVar[str] = "maximum"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        # Not np.maximum: if one operand is NaN, LiteRT and the C return the second.
        return [np.where(values[0] > values[1], values[0], values[1])]


@dataclass(frozen=True, kw_only=True)
class Minimum(Extremum):
    """min(a, b)"""

    KIND: ClassVar[str] = "minimum"

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.where(values[0] < values[1], values[0], values[1])]
