"""Shared by the calls of CMSIS-NN: its structs as tuples of int32, its names.

The order of fields is that of Include/arm_nn_types.h; tuples are passed to the library's buffer-size functions as
they are, and spelled out as designated initialisers in the C.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.lowering.plan import VendorCall

FAMILY = "cmsis-nn"
HEADER_FILES = ("arm_nnfunctions.h",)
HEADERS: tuple[str, ...] = ()
"""The C needs nothing of tinygen's own headers."""

LARGEST_LEFT_SHIFT_S16 = 14
"""arm_nn_requantize_s64 shifts right by 14 - shift."""

_TYPES = {"int8": "s8", "int16": "s16"}


def type_suffix(node: Node) -> str | None:
    """`s8` or `s16`; None when the library has no function for the output's type."""
    return _TYPES.get(node.output.dtype.name)


def call(function: str, *arguments: int | tuple[int, ...], also: Sequence[str] = ()) -> VendorCall:
    """A call whose scratch size is given by `<function>_get_buffer_size`."""
    return VendorCall(HEADER_FILES, (function, *also), f"{function}_get_buffer_size", arguments)


def call_without_scratch(*functions: str) -> VendorCall:
    """A call that takes no context."""
    return VendorCall(HEADER_FILES, functions)


def dims(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """cmsis_nn_dims {n, h, w, c} of a shape with four axes."""
    n, h, w, c = shape
    return n, h, w, c


def sums_fit_int32(weights: np.ndarray, channel_axis: int) -> bool:
    """Whether no sum of weights times int16 activations can leave 32 bits: the s16 functions add up in int32."""
    axes = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    return bool((32768 * np.abs(weights.astype(np.int64)).sum(axis=axes)).max() < 1 << 31)
