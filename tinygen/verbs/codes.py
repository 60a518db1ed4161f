"""Codes as they lie in a device's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygen.ir.encodings import pack_bits, unpack_bits


def in_memory(codes: np.ndarray, tensor: Mapping[str, Any]) -> bytes:
    """Bytes of an input.

    Args:
        codes: one per element.
        tensor: what the manifest says of it.
    """
    return (pack_bits(codes) if tensor.get("packed") else np.ascontiguousarray(codes)).tobytes()


def from_memory(data: bytes, tensor: Mapping[str, Any]) -> np.ndarray:
    """Codes of an output; see `in_memory`."""
    if tensor.get("packed"):
        words = np.frombuffer(data, "<u4").reshape(*tensor["shape"][:-1], -1)
        return unpack_bits(words, tensor["shape"][-1])
    return np.frombuffer(data, tensor["dtype"]).reshape(tensor["shape"])
