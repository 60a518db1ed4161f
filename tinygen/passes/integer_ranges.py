"""Ranges of the output codes of integer operators: intervals of accumulators, mapped by their epilogues.

A channel's codes are monotone in its accumulator, so the ends of the interval give the ends of the codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels, Ternary
from tinygen.ir.epilogue import Epilogue, apply
from tinygen.ir.ops import integer_mac, mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.integer_pool_2d import IntegerMaxPool2D, IntegerSumPool2D
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.tensor import Tensor

_INTEGER_OPS = (IntegerAdd, IntegerMaxPool2D, IntegerSumPool2D, Requantize)


class Ends(NamedTuple):
    """Least and largest code per channel, int64 [C] each."""

    low: np.ndarray
    high: np.ndarray


Known = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""(least, largest) code per channel, by tensor name."""


def has_integers(tensor: Tensor) -> bool:
    """Whether codes stand for integers that increase with them, with one scale, and the tensor has channels."""
    encoding = tensor.encoding
    rises = isinstance(encoding, Levels | Binary | Ternary) or (
        isinstance(encoding, Affine) and tensor.dtype in (np.int8, np.uint8, np.int16, np.int32)
    )
    return rises and not tensor.integer.per_channel and len(tensor.shape) > 0 and tensor.size > 0


def is_integer(op: Op) -> bool:
    """Whether an operator computes with the integers that codes of any encoding stand for, not by TFLite's rules."""
    return isinstance(op, _INTEGER_OPS) or (isinstance(op, MacLayer) and not op.is_tflite)


def is_integer_mac(node: Node) -> bool:
    """Whether an integer convolution or dense layer has constant weights, and channels with ranges."""
    return node.input(1).is_constant and has_integers(node.input(0)) and has_integers(node.output)


def integer_range(node: Node, known: Known) -> Ends | None:
    """The range of an integer operator's output; None if any code may occur."""
    rule = next((rule for kind, rule in _RULES if isinstance(node.op, kind)), None)
    operands = [tensor for tensor in node.inputs if tensor is not None and not tensor.is_constant]
    if rule is None or not all(tensor.name in known for tensor in operands):
        return None
    return rule(node, known)


def integers_of(tensor: Tensor, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest integer per channel."""
    low, high = (tensor.integer.integers(end.astype(tensor.dtype)) for end in known[tensor.name])
    return low, high


def _finished(node: Node, epilogue: Epilogue | None, low: np.ndarray, high: np.ndarray) -> Ends:
    codes = apply(epilogue, np.stack([low, high]))
    return Ends(codes.min(axis=0), codes.max(axis=0))


def _mac(node: Node, known: Known) -> Ends | None:
    op = node.op
    assert isinstance(op, Conv2D | FullyConnected)
    if not is_integer_mac(node):
        return None
    weights = integer_mac.scaled_weights(node, integer_mac.weight_integers(node))
    low, high = integers_of(node.input(0), known)
    outputs, depth = weights.shape[0], weights.shape[-1]
    groups = 1
    if isinstance(op, Conv2D):
        groups = op.groups(node)
        if any(axis.padded for axis in op.geometry(node)):
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
    return _finished(node, op.of_sums, np.concatenate([a for a, _ in ends]), np.concatenate([b for _, b in ends]))


def _largest_code(node: Node, known: Known) -> Ends | None:
    return Ends(*known[node.input(0).name])


def _sum(node: Node, known: Known) -> Ends | None:
    op = node.op
    assert isinstance(op, IntegerSumPool2D)
    low, high = integers_of(node.input(0), known)
    taps = prod(op.kernel)
    if any(axis.padded for axis in op.geometry(node)):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    return _finished(node, op.epilogue, taps * low, taps * high)


def _each(node: Node, known: Known) -> Ends | None:
    """Elementwise operators that are monotone in each operand: the extremes lie at the corners."""
    tensors = [node.input(i) for i in range(len(node.inputs))]
    if any(tensor.is_constant for tensor in tensors):
        return None
    ends = [tuple(end.astype(tensor.dtype) for end in known[tensor.name]) for tensor in tensors]
    codes = np.stack([node.op.evaluate(node, corner)[0] for corner in product(*ends)]).astype(np.int64)
    return Ends(codes.min(axis=0), codes.max(axis=0))


_RULES: tuple[tuple[type[Op] | tuple[type[Op], ...], Callable[[Node, Known], Ends | None]], ...] = (
    ((Conv2D, FullyConnected), _mac),
    (IntegerMaxPool2D, _largest_code),
    (IntegerSumPool2D, _sum),
    ((IntegerAdd, Requantize), _each),
)
