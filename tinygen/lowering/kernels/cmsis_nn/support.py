"""What the calls of CMSIS-NN share: its structs as tuples of int32, its scales, its names.

The order of fields is that of Include/arm_nn_types.h; tuples are passed to the library's buffer-size functions as
they are, and spelled out as designated initialisers in the C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantize_multiplier, quantized_activation_range
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.pool_2d import Pool2D
from tinygen.lowering.plan import Constant, LibraryCall

FAMILY = "cmsis-nn"
HEADER = "arm_nnfunctions.h"
HEADERS: tuple[str, ...] = ()
"""The C needs nothing of tinygen's own headers."""

LARGEST_LEFT_SHIFT_S16 = 14
"""arm_nn_requantize_s64 shifts right by 14 - shift."""

_TYPES = {"int8": "s8", "int16": "s16"}


Windowed = Conv2D | DepthwiseConv2D | Pool2D


def type_suffix(node: Node) -> str | None:
    """`s8` or `s16`; None when the library has no function for the output's type."""
    return _TYPES.get(node.output.dtype.name)


def call(function: str, *arguments: int | tuple[int, ...], also: Sequence[str] = ()) -> LibraryCall:
    """A call whose scratch `<function>_get_buffer_size` knows."""
    return LibraryCall(HEADER, (function, *also), f"{function}_get_buffer_size", arguments)


def call_without_scratch(*functions: str) -> LibraryCall:
    """A call that takes no context."""
    return LibraryCall(HEADER, functions)


def dims(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """cmsis_nn_dims {n, h, w, c} of a shape with four axes."""
    n, h, w, c = shape
    return n, h, w, c


@dataclass(frozen=True)
class Window:
    """The parameters of a sliding window, as the library's structs and as template values."""

    input_offset: int
    output_offset: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    clamp: tuple[int, int]

    @classmethod
    def of(cls, node: Node, op: Windowed) -> Window:
        """Pairs are (w, h), as the library has them; the convolutions' offset is minus the zero point."""
        rows, columns = op.geometry(node)
        return cls(
            -node.input(0).zero_point,
            node.output.zero_point,
            (columns.stride, rows.stride),
            (columns.before, rows.before),
            (columns.dilation, rows.dilation),
            quantized_activation_range(op.activation, node.output),
        )

    def conv_params(self) -> tuple[int, ...]:
        """cmsis_nn_conv_params"""
        return self.input_offset, self.output_offset, *self.stride, *self.padding, *self.dilation, *self.clamp

    def depthwise_params(self, multiplier: int) -> tuple[int, ...]:
        """cmsis_nn_dw_conv_params"""
        first, *rest = self.conv_params()[1:]
        return self.input_offset, first, multiplier, *rest

    def context(self) -> dict[str, Any]:
        """Template values."""
        return {
            "input_offset": self.input_offset,
            "output_offset": self.output_offset,
            "stride": list(self.stride),
            "padding": list(self.padding),
            "dilation": list(self.dilation),
            "clamp": list(self.clamp),
        }


def scales(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """(multipliers, shifts) as the library wants them: TFLite Micro's, one pair per weight scale."""
    pairs = [quantize_multiplier(real) for real in mac.real_multipliers(node)]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32)


def scale_constants(node: Node, channels: int) -> tuple[Constant, Constant]:
    """The arrays `multipliers` and `shifts`: the convolutions want one entry per channel in any case."""
    multipliers, shifts = (np.broadcast_to(array, (channels,)) for array in scales(node))
    return Constant("multipliers", multipliers, f"[{channels}]"), Constant("shifts", shifts, f"[{channels}]")


def sums_fit_int32(weights: np.ndarray, channel_axis: int) -> bool:
    """Whether no sum of weights times int16 activations can leave 32 bits: the s16 functions add up in int32."""
    axes = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    return bool((32768 * np.abs(weights.astype(np.int64)).sum(axis=axes)).max() < 1 << 31)
