"""Template values of a sliding window."""

from __future__ import annotations

from typing import Any

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.window import Axis


def window_context(node: Node, geometry: tuple[Axis, Axis]) -> dict[str, Any]:
    """Sizes, strides and padding of a 2-D window over NHWC, as the templates name them."""
    return window_sizes(geometry, node.input(0).shape[0], node.input(0).shape[3], node.output.shape[3])


def window_sizes(geometry: tuple[Axis, Axis], batch: int, in_c: int, out_c: int) -> dict[str, Any]:
    """The same of any window."""
    rows, columns = geometry
    return {
        "batch": batch,
        "in_h": rows.input,
        "in_w": columns.input,
        "in_c": in_c,
        "out_h": rows.output,
        "out_w": columns.output,
        "out_c": out_c,
        "k_h": rows.kernel,
        "k_w": columns.kernel,
        "stride_h": rows.stride,
        "stride_w": columns.stride,
        "dilation_h": rows.dilation,
        "dilation_w": columns.dilation,
        "pad_h": rows.before,
        "pad_w": columns.before,
        "padded": rows.padded or columns.padded,
    }


def window_stem(kind: str, geometry: tuple[Axis, Axis]) -> str:
    """`conv_2d_s8_3x3`, with the stride when it is not 1."""
    rows, columns = geometry
    stride = f"_s{rows.stride}x{columns.stride}" if rows.stride * columns.stride > 1 else ""
    return f"{kind}_{rows.kernel}x{columns.kernel}{stride}"
