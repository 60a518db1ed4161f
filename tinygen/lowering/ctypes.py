"""C types of codes, and literals that read back exactly."""

from __future__ import annotations

import math

import numpy as np

_CTYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
    "bool": "uint8_t",
}


def ctype(dtype: np.dtype) -> str:
    """The C type that holds one code."""
    return _CTYPES[dtype.name]


def float_literal(value: float) -> str:
    """A C literal that reads back as exactly this float32."""
    single = np.float32(value)
    if not math.isfinite(single):
        # <math.h> has the names, but the generated C does without it; constant expressions do as well.
        return "(0.0f / 0.0f)" if math.isnan(single) else "(1.0f / 0.0f)" if single > 0 else "(-1.0f / 0.0f)"
    text = np.format_float_scientific(single, unique=True, trim="0", exp_digits=1)
    return f"{text}f"


def double_literal(value: float) -> str:
    """A C literal that reads back as exactly this finite double."""
    text = repr(float(value))
    return text if any(mark in text for mark in ".e") else f"{text}.0"


def minus(amount: int) -> str:
    """` - amount` for use after an operand; "" for 0."""
    return f" - {amount}" if amount > 0 else f" + {-amount}" if amount else ""
