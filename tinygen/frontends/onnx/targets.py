"""Quantizers of the file: their codes, and the encoding of those codes in the Graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Boundaries, Quantizer, Rounding, Uniform
from tinygen.ir.encodings import Affine, Binary, IntegerEncoding, Levels, Ternary


@dataclass(frozen=True)
class Target:
    """The output of a quantizer.

    Attributes:
        encoding: of the codes that `quantizer` gives.
        quantizer: from real values to codes.
        whole: whether the codes are the full range of int8 or int16, as in TFLite, so that its operators can be used.
        raw_shift: ONNX's code minus ours.
    """

    encoding: IntegerEncoding
    quantizer: Quantizer
    whole: bool = False
    raw_shift: int = 0

    def counted_from(self, base: int) -> IntegerEncoding:
        """The encoding of the codes minus `base`."""
        if base == 0 or isinstance(self.encoding, Levels | Binary):
            return self.encoding
        zero = self.encoding.zero_point[0] if isinstance(self.encoding, Affine) else 0
        return Affine("int8" if zero - base <= 127 else "int16", self.encoding.scale, (zero - base,))

    def clamped(self, low: float, high: float) -> Target:
        """The target limited to the codes that a Clip after a QuantizeLinear leaves; bounds are ONNX's codes."""
        assert isinstance(self.quantizer, Uniform)
        least, largest = self.quantizer.low, self.quantizer.high
        lower = max(least, math.ceil(max(low, -(2**31))) - self.raw_shift)
        upper = min(largest, math.floor(min(high, 2**31)) - self.raw_shift)
        if lower >= upper:
            raise UnsupportedError(f"a quantizer clamped to {low}..{high}")
        narrower = replace(self.quantizer, low=lower, high=upper)
        return replace(self, quantizer=narrower, whole=self.whole and (lower, upper) == (least, largest))


_ROUNDINGS = {
    "ROUND": Rounding.HALF_EVEN,
    "HALF_EVEN": Rounding.HALF_EVEN,
    "CEIL": Rounding.CEIL,
    "FLOOR": Rounding.FLOOR,
    "UP": Rounding.AWAY,
    "DOWN": Rounding.TO_ZERO,
    "HALF_UP": Rounding.HALF_AWAY,
    "HALF_DOWN": Rounding.HALF_TO_ZERO,
}


def rounding_of(name: str) -> Rounding:
    """A rounding mode of QONNX by its name.

    Raises:
        UnsupportedError: there is none of that name.
    """
    if name.upper() not in _ROUNDINGS:
        raise UnsupportedError(f"rounding mode '{name}' is not known", fix=f"Known: {', '.join(_ROUNDINGS)}.")
    return _ROUNDINGS[name.upper()]


def linear_target(scale: float, zero_point: int, dtype: np.dtype, bits: int) -> Target:
    """The target of a QuantizeLinear: it rounds half to even, then adds the zero point.

    Args:
        scale, zero_point: per tensor.
        dtype: of ONNX's codes: int8, uint8 or int16.
        bits: of a code, 8 or 4 for the narrower types.

    Raises:
        UnsupportedError: another type.
    """
    if dtype not in (np.int8, np.uint8, np.int16):
        raise UnsupportedError(f"activations of type {dtype.name} are not supported", fix="Quantize to int8 or uint8.")
    signed = dtype != np.uint8
    shift = 0 if signed or bits < 8 else 128
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    storage = "int16" if dtype == np.int16 else "int8"
    zero = zero_point - shift
    quantizer = Uniform(scale, 0.0, low - shift, high - shift, shift=zero)
    return Target(Affine(storage, (scale,), (zero,)), quantizer, bits in (8, 16), shift)


@dataclass(frozen=True)
class IntegerRange:
    """The codes of a QONNX quantizer."""

    low: int
    high: int
    signed: bool

    @staticmethod
    def of(bits: int, signed: bool, narrow: bool) -> IntegerRange:
        """The range as Quant defines it: `narrow` removes one code, the least of signed or the largest of unsigned."""
        if signed:
            return IntegerRange(-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1, signed)
        return IntegerRange(0, 2**bits - 1 - narrow, signed)


def bits_of(codes: IntegerRange) -> int:
    """Number of bits that hold all codes."""
    return (codes.high - codes.low).bit_length()


def encoding_of(
    codes: IntegerRange, scale: tuple[float, ...], zero: int, axis: int | None = None
) -> tuple[IntegerEncoding, int]:
    """(encoding, shift): codes of the encoding are ONNX's minus the shift.

    Raises:
        UnsupportedError: more than 8 bits.
    """
    if codes.low == 0 == zero and 3 <= codes.high <= 255:
        return Levels(scale, axis, bits=codes.high.bit_length(), signed=False), 0
    if (codes.low, codes.high, zero) == (-1, 1, 0):
        return Ternary(scale, axis), 0
    if codes.low < -128 or codes.high > 255:
        raise UnsupportedError(f"codes {codes.low} to {codes.high} are wider than 8 bits", fix="Use at most 8 bits.")
    shift = 128 if codes.high > 127 else 0
    if not -128 <= zero - shift <= 127:
        raise UnsupportedError(f"zero point {zero} lies outside the codes {codes.low} to {codes.high}")
    return Affine("int8", scale, (zero - shift,) * len(scale), axis), shift


def integral(value: float, what: str) -> int:
    """The value, which must be an integer.

    Raises:
        UnsupportedError: the value is not an integer.
    """
    if not math.isfinite(value) or value != int(value):
        raise UnsupportedError(f"its {what} {value} is no integer", fix=f"Train with an integer {what}.")
    return int(value)


def quant_target(scale: float, zero_point: float, codes: IntegerRange, rounding: Rounding) -> Target:
    """The target of a QONNX Quant: it adds the zero point before rounding."""
    zero = integral(zero_point, "zero point")
    encoding, shift = encoding_of(codes, (scale,), zero)
    if codes.low == codes.high:
        raise UnsupportedError("a quantizer with a single code")
    return Target(encoding, Uniform(scale, float(zero), codes.low - shift, codes.high - shift, rounding, -shift))


def bipolar_target(scale: float) -> Target:
    """The target of a QONNX BipolarQuant: +scale for values from 0 on, -scale below."""
    return Target(Binary((scale,)), Boundaries((0.0,)))


@dataclass(frozen=True)
class Truncation:
    """QONNX's Trunc: codes of many bits are rounded, divided by a power of two, and rounded again.

    Attributes:
        scale, zero_point: of the codes before.
        bits: number of bits dropped.
        low, high: codes after.
        rounding: of the second rounding: HALF_EVEN, FLOOR or CEIL; the first is to even.
    """

    scale: float
    zero_point: float
    bits: int
    low: int
    high: int
    rounding: Rounding

    @property
    def step(self) -> Fraction:
        return Fraction(self.scale) * 2**self.bits

    def points(self) -> list[tuple[Fraction, bool]]:
        """Real values at which codes begin: half below a code's least integer, included if that integer is even."""
        result = []
        for code in range(self.low + 1, self.high + 1):
            first = self._first(code)
            point = (first - Fraction(1, 2) - Fraction(self.zero_point)) * Fraction(self.scale)
            result.append((point, first % 2 == 0))
        return result

    def _first(self, code: int) -> int:
        """The least integer that is truncated to this code."""
        size = 2**self.bits
        if self.rounding is Rounding.FLOOR or size == 1:
            return code * size
        if self.rounding is Rounding.CEIL:
            return (code - 1) * size + 1
        return code * size - size // 2 + (code % 2)
