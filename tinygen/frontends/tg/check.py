"""Checks of encodings and codes beyond the types of their fields."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine, ChannelList, Codebook, Encoding, Levels, Plain, PowerOfTwo
from tinygen.ir.tensor import Shape

_STORAGE = {
    Affine: ("int8", "int16", "int32", "int64", "uint8", "uint16"),
    Plain: ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
}


def check_encoding(encoding: Encoding, shape: Shape, where: str) -> None:
    """Raises ModelError if the parameters break the encoding's own rules, or do not fit the tensor's shape."""
    problem = _own_problem(encoding) or _scale_problem(encoding, shape)
    if problem:
        raise ModelError(problem, where=where)


def _own_problem(encoding: Any) -> str:
    """A violation of the rules of the encoding's class; "" if there is none."""
    known = _STORAGE.get(type(encoding))
    if known and encoding.storage not in known:
        return f"has codes of type '{encoding.storage}'"
    if isinstance(encoding, Levels) and not 2 <= encoding.bits <= 8:
        return f"has levels of {encoding.bits} bits"
    if isinstance(encoding, ChannelList) and not 1 <= encoding.of < 2**15:
        return f"lists channels of {encoding.of}"
    if isinstance(encoding, PowerOfTwo) and not 1 <= encoding.exponents <= 31:
        return f"has {encoding.exponents} exponents"
    if isinstance(encoding, Codebook):
        table = encoding.table
        if not 2 <= len(table) <= 256 or not all(-(2**15) <= value < 2**15 for value in table):
            return "has a table that is not of 2 to 256 integers of 16 bits"
    if isinstance(encoding, Affine):
        low, high = encoding.code_range
        if len(encoding.zero_point) != len(encoding.scale) or not all(low <= z <= high for z in encoding.zero_point):
            return f"has {len(encoding.scale)} scales and the zero points {list(encoding.zero_point)[:4]}"
    return ""


def _scale_problem(encoding: Any, shape: Shape) -> str:
    """A violation in the scales, which all encodings but floats and plain integers have; "" if there is none."""
    scales, axis = getattr(encoding, "scale", None), getattr(encoding, "axis", None)
    if scales is None:
        return ""
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        return "has a scale that is not a positive number"
    if axis is None:
        return "" if len(scales) == 1 else f"has {len(scales)} scales, but no axis"
    if not 0 <= axis < len(shape) or shape[axis] != len(scales):
        return f"has {len(scales)} scales along axis {axis} of shape {list(shape)}"
    return ""


def check_codes(encoding: Encoding, codes: np.ndarray, where: str) -> None:
    """Raises ModelError if a constant holds codes that the encoding does not have."""
    bounds = getattr(encoding, "code_range", None)
    if bounds is not None and codes.size and (codes.min() < bounds[0] or codes.max() > bounds[1]):
        found = f"codes from {codes.min()} to {codes.max()}"
        raise ModelError(f"holds {found}, {encoding} has {bounds[0]} to {bounds[1]}", where=where)
