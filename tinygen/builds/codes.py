"""Codes as they are stored in a device's memory."""

from __future__ import annotations

import numpy as np

from tinygen.builds.manifest import TensorEntry
from tinygen.errors import TinygenError
from tinygen.frontends.layouts import Rows
from tinygen.ir.encodings import pack_codes, unpack_codes


def in_memory(codes: np.ndarray, tensor: TensorEntry) -> bytes:
    """Bytes of an input.

    Args:
        codes: one per element, of the input's shape and type.
        tensor: its manifest entry.

    Raises:
        TinygenError: they are of another shape or type.
    """
    what = f"input '{tensor.name}'"
    if codes.dtype != tensor.dtype:
        raise TinygenError(f"takes codes as {tensor.dtype}, not {codes.dtype.name}", where=what)
    if codes.shape != tensor.shape:
        codes = Rows(what, tensor.shape).take(codes, None, what)
        if len(codes) != 1:
            raise TinygenError(f"takes one sample at a time, not {len(codes)}", where=what)
        codes = codes[0]
    return (pack_codes(codes, tensor.bits) if tensor.packed else np.ascontiguousarray(codes)).tobytes()


def from_memory(data: bytes, tensor: TensorEntry) -> np.ndarray:
    """Codes of an output; see `in_memory`."""
    if tensor.packed:
        words = np.frombuffer(data, "<u4").reshape(*tensor.shape[:-1], -1)
        return unpack_codes(words, tensor.shape[-1], tensor.bits)
    return np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
