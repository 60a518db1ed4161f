"""Ranges of output codes of layers of products and of integer operators: those of sums, mapped by epilogues.

A channel's codes are monotone in its accumulator, so the ends of the interval give the ends of the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from tinygen.ir.epilogue import Epilogue, apply
from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.summing import Summing
from tinygen.passes.mac_ranges import Known, accumulator_ends, integers_of, is_constant_mac


class Ends(NamedTuple):
    """Least and largest code per channel, int64 [C] each."""

    low: np.ndarray
    high: np.ndarray


def is_integer(op: Op) -> bool:
    """Whether an operator computes with the integers that codes of any encoding stand for, not by TFLite's rules."""
    return isinstance(op, IntegerAdd | Requantize) or (isinstance(op, Summing) and not op.is_tflite)


def integer_range(node: Node, known: Known) -> Ends | None:
    """The range of the operator's output; None if any code may occur."""
    rule = next((rule for kind, rule in _RULES if isinstance(node.op, kind)), None)
    operands = [tensor for tensor in node.inputs if tensor is not None and not tensor.is_constant]
    if rule is None or not all(tensor.name in known for tensor in operands):
        return None
    return rule(node, known)


def _finished(node: Node, epilogue: Epilogue | None, low: np.ndarray, high: np.ndarray) -> Ends:
    codes = apply(epilogue, np.stack([low, high]))
    return Ends(codes.min(axis=0), codes.max(axis=0))


def _mac(node: Node, known: Known) -> Ends | None:
    op = node.op
    assert isinstance(op, MacLayer)
    if not is_constant_mac(node):
        return None
    low, high = accumulator_ends(node, known)
    return _requantized(node, op, low, high) if op.is_tflite else _finished(node, op.of_sums, low, high)


def _requantized(node: Node, op: MacLayer, least: np.ndarray, largest: np.ndarray) -> Ends:
    """Codes between two accumulators per channel: requantization is monotone as long as nothing wraps."""
    codes = mac.requantize(node, np.stack([least, largest]), op.activation).astype(np.int64)
    _, shifts = mac.multipliers(node)
    reach = np.maximum(np.abs(least), np.abs(largest))
    if node.output.dtype == np.int16:
        safe = (reach < 2**45) & (shifts <= 14)
    else:
        safe = reach < 2 ** (31 - np.maximum(shifts, 0))
    low, high = quantized_activation_range(op.activation, node.output)
    return Ends(np.where(safe, codes.min(axis=0), low), np.where(safe, codes.max(axis=0), high))


def _pool(node: Node, known: Known) -> Ends:
    op = node.op
    assert isinstance(op, AveragePool2D | MaxPool2D)
    if isinstance(op, AveragePool2D) and not op.is_tflite:
        low, high = integers_of(node.input(0), known)
        taps = prod(op.kernel)
        if any(axis.padded for axis in op.geometry(node)):
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        return _finished(node, op.of_sums, taps * low, taps * high)
    bounds = quantized_activation_range(op.activation, node.output)
    return Ends(*np.clip(np.stack(known[node.input(0).name]), *bounds))


def _each(node: Node, known: Known) -> Ends | None:
    """Elementwise operators that are monotone in each operand: the extremes lie at the corners."""
    tensors = [node.input(i) for i in range(len(node.inputs))]
    if any(tensor.is_constant for tensor in tensors):
        return None
    ends = [tuple(end.astype(tensor.dtype) for end in known[tensor.name]) for tensor in tensors]
    codes = np.stack([node.op.evaluate(node, corner)[0] for corner in product(*ends)]).astype(np.int64)
    return Ends(codes.min(axis=0), codes.max(axis=0))


_RULES: tuple[tuple[type[Op] | tuple[type[Op], ...], Callable[[Node, Known], Ends | None]], ...] = (
    ((Conv2D, DepthwiseConv2D, FullyConnected), _mac),
    ((AveragePool2D, MaxPool2D), _pool),
    ((IntegerAdd, Requantize), _each),
)
