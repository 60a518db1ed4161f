"""The requantization of TFLite's 16x8 layers as the epilogue of a layer on integer codes."""

from __future__ import annotations

import numpy as np

from tinygen.ir.epilogue import Rescale
from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.lowering.kernels.support.epilogues import mac


def rescaling(node: Node, channels: int) -> Rescale | None:
    """Scaling of the sums without bias; None where it takes more than a multiplication and a shift."""
    function, factors = scaling(node)
    if function not in ("tg_requantize_64", "tg_requantize_once"):
        return None
    multiplier, shift = (values.astype(np.int64) for values in factors.values())
    if function == "tg_requantize_64":
        multiplier, total = np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF), 15 - shift
    else:
        total = 31 - shift
    if total.min() < 1 or total.max() > 60:
        return None
    # In Python's integers: biases have up to 64 bits.
    rows = [np.broadcast_to(values, channels).tolist() for values in (multiplier, total, bias(node, channels))]
    offset = tuple(b * m + (1 << (t - 1)) for m, t, b in zip(*rows, strict=True))
    return Rescale(tuple(rows[0]), offset, tuple(rows[1]), *bounds(node))


def bounds(node: Node) -> tuple[int, int]:
    """Least and largest code."""
    assert isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected | TransposeConv)
    return quantized_activation_range(node.op.activation, node.output)


def scaling(node: Node) -> tuple[str, dict[str, np.ndarray]]:
    """As `mac.scaling`: zero points are 0."""
    return mac.scaling(node, *bounds(node))


def bias(node: Node, channels: int) -> np.ndarray:
    return node.constant(2).reshape(-1) if node.optional(2) is not None else np.zeros(channels, np.int64)
