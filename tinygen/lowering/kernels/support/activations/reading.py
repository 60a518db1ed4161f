"""Template values of how the multiplying kernels read and write the codes of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels, Ternary
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.kernels.support.activations.widening import fits_int16, needs_widening


def read_values(x: Tensor) -> dict[str, Any] | None:
    """How codes of any encoding are widened, and `zero`, the remaining zero point; None for wide integers."""
    return _widened(x) if needs_widening(x) else stored_values(x)


def stored_values(x: Tensor, *, halves: bool = False) -> dict[str, Any] | None:
    """How codes are widened to the multiplied integers, and the zero point that remains."""
    match x.encoding:
        case Affine(storage="int8"):
            zero = x.zero_point
            return {"extend": "tg_extend", "extend_extra": "", "fill": zero, "zero": zero, **_pointer(x)}
        case Affine(storage="int16") if halves:
            return {"source": "input", "zero": x.zero_point}
        case Binary():
            return {"source": "input", "zero": 0}  # dense layers alone widen bits
        case Ternary():
            return {"extend": "tg_extend", "extend_extra": "", "fill": 0, "zero": 0, **_pointer(x)}
        case Levels(signed=False):
            wide = "tg_extend_unsigned" if x.encoding.bits == 8 else "tg_extend"
            return {"extend": wide, "extend_extra": "", "fill": 0, "zero": 0, **_pointer(x)}
        case Levels():
            largest = 2**x.encoding.bits - 1
            return {"extend": "tg_extend_levels", "extend_extra": f", {largest}", "fill": 0, "zero": 0, **_pointer(x)}
        case _:
            return None


def _widened(x: Tensor) -> dict[str, Any] | None:
    """Of codes that a table or their bits turn into integers."""
    return {"extend": "", "extend_extra": "", "fill": 0, "zero": 0, **_pointer(x)} if fits_int16(x) else None


def _pointer(x: Tensor) -> dict[str, Any]:
    """The name of the parameter that templates read: they read int8_t, to which uint8 codes are first cast."""
    return {"source": "codes" if x.dtype == np.uint8 and not x.packed_bits else "input"}


def output_values(y: Tensor) -> dict[str, Any]:
    """Template values of how codes are written."""
    bits = y.packed_bits
    return {
        "y_type": ctype(y.memory_dtype),
        "packed_output": bits > 0,
        "y_bits": bits,
        "y_step": pixel_elements(y),
    }
