"""Activations widened to int16 pixel by pixel: codes of any encoding, any number of channels, group by group.

Not needed if codes are already stored as the inner loop reads them (signed or unsigned bytes, whole groups of four
channels): then whole rows are widened at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels, LookedUp
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.plan import Constant

# Instructions per code that is widened; per pixel; per pixel whose last channels do not fill a word.
_CYCLES = {"bytes": 1.35, "values": 3.6, "bits": 2.2, "packed": 1.5, "halves": 1.6}
_PIXEL, _REST = 6.0, 40.0


@dataclass(frozen=True, eq=False)
class Widening:
    """How the channels of one group and pixel are widened (templates/kernels/support/widening.j2).

    Attributes:
        kind: "bytes", "values" (int16 from a table), "bits", "packed" (codes of 4 or 2 bits) or "halves" (int16 as
            they lie, which are only put in order).
        channels: of a group.
        context: template values.
        constants: the table.
    """

    kind: str
    channels: int
    context: dict[str, Any]
    constants: tuple[Constant, ...] = ()

    @property
    def depth(self) -> int:
        """Channels, filled up to a multiple of four."""
        return whole_words(self.channels)

    @property
    def cycles(self) -> float:
        """Instructions per pixel."""
        return self.depth * _CYCLES[self.kind] + _PIXEL + (_REST if self.channels % 4 else 0.0)


def whole_words(channels: int) -> int:
    """The next multiple of four."""
    return -(-channels // 4) * 4


def needs_widening(x: Tensor) -> bool:
    """Whether codes are not bytes that a spreading function reads as stored."""
    return x.code_bits > 0 or isinstance(x.encoding, Binary | LookedUp) or x.dtype == np.int16


def widening(x: Tensor, groups: int, fill: int, channels: int | None = None) -> Widening:
    """How the activations of a layer are widened.

    Args:
        x: NHWC.
        groups: of channels.
        fill: the int16 value of a tap outside the input; bytes also pad the channels with it.
        channels: of a pixel, if not those of the tensor.
    """
    step = pixel_elements(x) if channels is None or isinstance(x.encoding, Binary) else channels
    channels = channels or x.shape[-1] // groups
    kind = _kind(x)
    context = {
        "kind": kind,
        "channels": channels,
        "depth": whole_words(channels),
        "step": step,
        "fill": fill,
        "index_bits": 0,
        "bits": x.code_bits,
        "levels": 2**x.encoding.bits - 1 if isinstance(x.encoding, Levels) and x.encoding.signed else 0,
    }
    if kind != "values":
        return Widening(kind, channels, context)
    low, high = x.integer.code_range
    bits = (high - low).bit_length()
    codes = np.arange(low, high + 1)
    values = np.zeros(1 << bits, np.int16)
    values[codes % len(values)] = x.integer.integers(codes.astype(x.dtype))
    constants = (Constant("values", values, f"integers of the codes, by their lowest {bits} bits"),)
    return Widening(kind, channels, context | {"index_bits": bits}, constants)


def _kind(x: Tensor) -> str:
    match x.encoding:
        case LookedUp():
            return "values"
        case Binary():
            return "bits"
        case Affine(storage="int16"):
            return "halves"
        case _:
            return "packed" if x.code_bits else "bytes"


def fits_int16(x: Tensor) -> bool:
    """Whether all integers of the codes fit int16; those of more than 15 powers of two do not."""
    low, high = x.integer.code_range
    if high - low > 2**16:
        return False
    integers = x.integer.integers(np.arange(low, high + 1).astype(x.dtype))
    return bool(integers.min() >= -(2**15) and integers.max() < 2**15)
