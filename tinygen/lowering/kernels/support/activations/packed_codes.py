"""Activations as unsigned codes for words of fields; how a row is read (templates/kernels/support/packed_codes.j2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels, LookedUp, Ternary
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.plan import Constant

_LARGEST_BYTE = 255


@dataclass(frozen=True)
class Codes:
    """Activations as unsigned codes a: a is the stored code plus `moved`; integers are scale * a + offset.

    Attributes:
        moved, scale, offset: as above.
        largest: of a.
        padding: the code of the integer 0.
        bits: per code in words of channels; 0 if codes are bytes.
        doubled: a is twice the stored code, so that there is a code for 0.
        table: a of each code that can be stored, from `lowest` on; empty where none is needed.
        odd: no code stands for the integer 0: taps outside have code 0, and sums lack what that stands for.
    """

    moved: int
    scale: int
    offset: int
    largest: int
    padding: int = 0
    bits: int = 0
    doubled: bool = False
    table: tuple[int, ...] = ()
    lowest: int = 0
    odd: bool = False


def activation_codes(x: Tensor, *, padded: bool) -> Codes | None:
    """None for encodings whose integers have too wide a range."""
    match x.encoding:
        case Affine(storage="int8"):
            return Codes(128, 1, -128 - x.zero_point, 255, 128 + x.zero_point)
        case Ternary():
            return Codes(1, 1, -1, 2, 1)
        case Levels(signed=False):
            return Codes(0, 1, 0, 2**x.encoding.bits - 1, bits=x.code_bits)
        case Levels():
            codes = _symmetric(2**x.encoding.bits - 1, padded)
            # A row of codes is a row of bytes.
            return None if codes.largest > _LARGEST_BYTE else replace(codes, bits=x.code_bits)
        case Binary():
            return replace(_symmetric(1, padded), bits=1)
        case LookedUp():
            return _looked_up(x, padded)
        case _:
            return None


def odd_codes(x: Tensor) -> Codes | None:
    """Codes without doubling for encodings that have none for 0, for layers that correct taps outside the input."""
    match x.encoding:
        case Levels(signed=True):
            return replace(_symmetric(2**x.encoding.bits - 1, padded=False), padding=0, bits=x.code_bits, odd=True)
        case Binary():
            return replace(_symmetric(1, padded=False), padding=0, bits=1, odd=True)
        case _:
            return None


def _symmetric(largest: int, padded: bool) -> Codes:
    """Of codes that stand for 2 * code - largest, among which there is no 0."""
    return Codes(0, 1, -largest, 2 * largest, largest, doubled=True) if padded else Codes(0, 2, -largest, largest)


def _looked_up(x: Tensor, padded: bool) -> Codes | None:
    """The codes of integers from a table, in steps of their common divisor, including 0 if there is padding."""
    low, high = x.integer.code_range
    integers = x.integer.integers(np.arange(low, high + 1).astype(x.dtype)).tolist()
    values = [*integers, 0] if padded else integers
    least = min(values)
    step = math.gcd(*(value - least for value in values)) or 1
    table = tuple((value - least) // step for value in integers)
    if max(values) - least > _LARGEST_BYTE * step:
        return None
    padding = -least // step if padded else 0
    return Codes(0, step, least, max(*table, padding, 1), padding, table=table, lowest=low)


def line_context(x: Tensor, codes: Codes) -> dict[str, Any]:
    """Template values of how codes are read."""
    return {
        "x_type": "uint8_t" if codes.bits or codes.table else ctype(x.memory_dtype),
        "x_step": pixel_elements(x),
        "bits": codes.bits,
        "doubled": codes.doubled,
        "looked_up": bool(codes.table),
        "lowest": codes.lowest,
    }


def value_constants(codes: Codes) -> tuple[Constant, ...]:
    """What a table has for each code."""
    if not codes.table:
        return ()
    return (Constant("values", np.array(codes.table, np.uint8), f"fields of the codes from {codes.lowest} on"),)


def stored_offset(x: Tensor, codes: Codes) -> int:
    """The difference between an integer and its code, if stored codes already count from their zero point."""
    return codes.offset + (x.zero_point if isinstance(x.encoding, Affine) else 0)
