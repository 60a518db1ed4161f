"""Ranges of the accumulators of layers of products, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels, Ternary
from tinygen.ir.ops import integer_mac, mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.tensor import Tensor

Known = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""(least, largest) code per channel, by tensor name."""


def is_quantized(tensor: Tensor) -> bool:
    """Whether channels of this tensor have ranges: quantized per tensor, with at least one axis, not empty."""
    per_tensor = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
    return per_tensor and tensor.dtype in (np.int8, np.uint8, np.int16) and len(tensor.shape) > 0 and tensor.size > 0


def has_integers(tensor: Tensor) -> bool:
    """Whether codes stand for integers that increase with them, with one scale, and the tensor has channels."""
    encoding = tensor.encoding
    rises = isinstance(encoding, Levels | Binary | Ternary) or (
        isinstance(encoding, Affine) and tensor.dtype in (np.int8, np.uint8, np.int16, np.int32)
    )
    return rises and not tensor.integer.per_channel and len(tensor.shape) > 0 and tensor.size > 0


def is_constant_mac(node: Node) -> bool:
    """Whether a layer of products has constant weights and bias, and channels with ranges."""
    op, bias = node.op, node.optional(2)
    assert isinstance(op, MacLayer)
    has_ranges = is_quantized if op.is_tflite else has_integers
    constant = node.input(1).is_constant and (bias is None or bias.is_constant)
    return constant and has_ranges(node.input(0)) and has_ranges(node.output)


def bias_of(node: Node, channels: int) -> np.ndarray:
    """The bias, int64 [channels]; zeros when there is none."""
    if node.optional(2) is None:
        return np.zeros(channels, np.int64)
    return node.constant(2).reshape(-1).astype(np.int64)


def integers_of(tensor: Tensor, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest integer per channel."""
    low, high = (tensor.integer.integers(end.astype(tensor.dtype)) for end in known[tensor.name])
    return low, high


def weights_of(node: Node) -> np.ndarray:
    """The integers of constant weights, kernel scales included: int64 [O, ..., I], of depthwise layers too."""
    assert isinstance(node.op, MacLayer)
    weights = integer_mac.weight_integers(node)
    scaled = weights if node.op.is_tflite else integer_mac.scaled_weights(node, weights)
    return np.swapaxes(scaled, 0, node.op.CHANNEL_AXIS)


def accumulator_ends(node: Node, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest accumulator of each output channel, int64 [O] each, with the bias."""
    weights = weights_of(node)
    low, high = integers_of(node.input(0), known)
    outputs, depth, groups = weights.shape[0], weights.shape[-1], 1
    if isinstance(node.op, Convolution):
        groups = len(low) // depth
        if any(axis.padded for axis in node.op.geometry(node)):
            low, high = np.minimum(low, 0), np.maximum(high, 0)
    elif depth % len(low):
        low, high = np.full(depth, low.min()), np.full(depth, high.max())
    rows = weights.reshape(groups, outputs // groups, -1)
    # Of a group: the channels it reads. Of a dense layer behind a flattened image: all channels of each pixel.
    parts = zip(low.reshape(groups, -1), high.reshape(groups, -1), rows, strict=True)
    ends = [
        mac.accumulator_range(row, np.tile(a, row.shape[1] // len(a)), np.tile(b, row.shape[1] // len(b)), 0)
        for a, b, row in parts
    ]
    bias = bias_of(node, outputs)
    return np.concatenate([a for a, _ in ends]) + bias, np.concatenate([b for _, b in ends]) + bias
