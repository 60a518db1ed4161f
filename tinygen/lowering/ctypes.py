"""The C types that hold codes."""

from __future__ import annotations

import numpy as np

_CTYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t",
    "uint32": "uint32_t", "int64": "int64_t", "float32": "float", "bool": "uint8_t",
}  # fmt: skip


def ctype(dtype: np.dtype) -> str:
    """The C type that holds one code."""
    return _CTYPES[dtype.name]
