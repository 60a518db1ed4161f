"""Which codes each channel can take, for any input: interval analysis over the integer semantics.

Sound, not tight: a channel never leaves its range, but may not fill it. The taps of an accumulator are taken as
independent; a layer whose arithmetic could wrap, and every operator not named here, has the full range. Intervals:
Cousot and Cousot, "Static Determination of Dynamic Properties of Programs", 1976.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.graph import Graph
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add, Extremum, Mul
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.movement import Movement
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import Pool2D
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.ops.reduce import Mean, ReduceMax, ReduceMin
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.unary import Unary
from tinygen.ir.tensor import Tensor
from tinygen.passes.integer_ranges import has_integers, integer_range, is_integer


@dataclass(frozen=True, eq=False)
class Range:
    """Least and largest code per channel (last axis), int64 [C] each."""

    low: np.ndarray
    high: np.ndarray

    @property
    def constant(self) -> np.ndarray:
        """Channels whose range is one code, bool [C]."""
        return self.low == self.high


Ranges = Mapping[str, Range]
_LARGEST = 1 << 22
"""Elements of a tensor that is written out to find its ranges; no microcontroller has room for more."""


def is_quantized(tensor: Tensor) -> bool:
    """Whether channels of this tensor have ranges: quantized per tensor, with at least one axis, not empty."""
    per_tensor = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
    return per_tensor and tensor.dtype in (np.int8, np.uint8, np.int16) and len(tensor.shape) > 0 and tensor.size > 0


def has_channels(tensor: Tensor) -> bool:
    """Whether channels of this tensor have ranges: as `is_quantized` says, or integer codes that are activations."""
    return is_quantized(tensor) or (not tensor.is_constant and has_integers(tensor))


def channel_ranges(graph: Graph, inputs: Ranges | None = None) -> dict[str, Range]:
    """The range of every quantized tensor, by name.

    Args:
        graph: validated.
        inputs: ranges of model inputs that do not use all codes of their type.
    """
    ranges = {tensor.name: _of_tensor(tensor) for tensor in graph.tensors.values() if has_channels(tensor)}
    ranges |= inputs or {}
    for node in graph.nodes():
        if is_integer(node.op) and has_integers(node.output):
            known = {name: (found.low, found.high) for name, found in ranges.items()}
            ends = integer_range(node, known)
            if ends is not None:
                ranges[node.output.name] = Range(*ends)
            continue
        if not all(is_quantized(tensor) for tensor in node.outputs):
            continue
        rule = next((rule for kind, rule in _RULES if isinstance(node.op, kind)), None)
        found = rule(node, ranges) if rule is not None else None
        for tensor, values in zip(node.outputs, found or (), strict=False):
            # Operators do not write constants or model inputs.
            ranges[tensor.name] = values
    return ranges


def is_constant_mac(node: Node) -> bool:
    """Whether a convolution or dense layer is quantized, with constant weights and bias."""
    bias = node.optional(2)
    constant = node.input(1).is_constant and (bias is None or bias.is_constant)
    return constant and is_quantized(node.input(0)) and is_quantized(node.output)


def bias_of(node: Node, channels: int) -> np.ndarray:
    """The bias, int64 [channels]; zeros when there is none."""
    if node.optional(2) is None:
        return np.zeros(channels, np.int64)
    return node.constant(2).reshape(-1).astype(np.int64)


def _of_tensor(tensor: Tensor) -> Range:
    channels = tensor.shape[-1]
    if tensor.data is not None:
        rows = tensor.data.reshape(-1, channels).astype(np.int64)
        return Range(rows.min(axis=0), rows.max(axis=0))
    low, high = tensor.code_range
    return Range(np.full(channels, low, np.int64), np.full(channels, high, np.int64))


def _centred(node: Node, ranges: Ranges, padded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of input 0 minus its zero point; a padded window also reads zeros."""
    x = node.input(0)
    low, high = ranges[x.name].low - x.zero_point, ranges[x.name].high - x.zero_point
    return (np.minimum(low, 0), np.maximum(high, 0)) if padded else (low, high)


def _conv_2d(node: Node, ranges: Ranges) -> list[Range] | None:
    op = node.op
    assert isinstance(op, Conv2D)
    if not is_constant_mac(node):
        return None
    weights = mac.centred(node.constant(1), node.input(1))
    outputs, _, _, depth = weights.shape
    groups = op.groups(node)
    rows = weights.reshape(groups, outputs // groups, -1, depth)
    low, high = _centred(node, ranges, any(axis.padded for axis in op.geometry(node)))
    bias = bias_of(node, outputs).reshape(groups, -1)
    ends = [
        mac.accumulator_range(
            rows[g].reshape(outputs // groups, -1),
            np.tile(low[g * depth : (g + 1) * depth], rows.shape[2]),
            np.tile(high[g * depth : (g + 1) * depth], rows.shape[2]),
            bias[g],
        )
        for g in range(groups)
    ]
    return [_requantized(node, np.concatenate([a for a, _ in ends]), np.concatenate([b for _, b in ends]))]


def _depthwise_conv_2d(node: Node, ranges: Ranges) -> list[Range] | None:
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    if not is_constant_mac(node):
        return None
    outputs = node.output.shape[3]
    weights = mac.centred(node.constant(1), node.input(1)).reshape(-1, outputs).T
    bounds = _centred(node, ranges, any(axis.padded for axis in op.geometry(node)))
    low, high = (np.repeat(bound, op.multiplier(node))[:, np.newaxis] for bound in bounds)
    return [_requantized(node, *mac.accumulator_range(weights, low, high, bias_of(node, outputs)))]


def _fully_connected(node: Node, ranges: Ranges) -> list[Range] | None:
    if not is_constant_mac(node):
        return None
    weights = mac.centred(node.constant(1), node.input(1))
    outputs, depth = weights.shape
    low, high = _centred(node, ranges, padded=False)
    if depth % len(low) == 0:
        low, high = np.tile(low, depth // len(low)), np.tile(high, depth // len(high))
    else:
        low, high = np.full(depth, low.min()), np.full(depth, high.max())
    return [_requantized(node, *mac.accumulator_range(weights, low, high, bias_of(node, outputs)))]


def _requantized(node: Node, least: np.ndarray, largest: np.ndarray) -> Range:
    """Codes between two accumulators per channel: requantization is monotone as long as nothing wraps."""
    op = node.op
    assert isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected)
    codes = mac.requantize(node, np.stack([least, largest]), op.activation).astype(np.int64)
    _, shifts = mac.multipliers(node)
    reach = np.maximum(np.abs(least), np.abs(largest))
    if node.output.dtype == np.int16:
        safe = (reach < 2**45) & (shifts <= 14)
    else:
        safe = reach < 2 ** (31 - np.maximum(shifts, 0))
    low, high = quantized_activation_range(op.activation, node.output)
    return Range(np.where(safe, codes.min(axis=0), low), np.where(safe, codes.max(axis=0), high))


def _table(node: Node, ranges: Ranges) -> list[Range] | None:
    """Elementwise function of one input: evaluates every code."""
    x = node.input(0)
    if not is_quantized(x):
        return None
    first = np.iinfo(x.dtype).min
    table = node.op.evaluate(node, [np.arange(first, np.iinfo(x.dtype).max + 1).astype(x.dtype)])[0].astype(np.int64)
    spans = [table[a : b + 1] for a, b in zip(ranges[x.name].low - first, ranges[x.name].high - first, strict=True)]
    return [Range(np.array([span.min() for span in spans]), np.array([span.max() for span in spans]))]


def _binary(node: Node, ranges: Ranges) -> list[Range] | None:
    """Monotone in each operand, or a product: the extremes lie at the corners."""
    operands = [node.input(0), node.input(1)]
    channels = node.output.shape[-1]
    if not all(is_quantized(tensor) and tensor.shape[-1] in (1, channels) for tensor in operands):
        return None
    if isinstance(node.op, Mul) and node.op.scale(node)[1] > (14 if node.output.dtype == np.int8 else 0):
        return None
    ends = [(ranges[t.name].low.astype(t.dtype), ranges[t.name].high.astype(t.dtype)) for t in operands]
    corners = [np.broadcast_to(node.op.evaluate(node, [a, b])[0], channels) for a, b in product(*ends)]
    codes = np.stack(corners).astype(np.int64)
    return [Range(codes.min(axis=0), codes.max(axis=0))]


def _mean(node: Node, ranges: Ranges) -> list[Range] | None:
    op = node.op
    assert isinstance(op, Mean)
    # A centred sum of int8 codes has 8 bits more than the count; it must not wrap when shifted left.
    if op.scale(node)[1] + op.count(node).bit_length() + 9 > 31 or op.count(node) >= 1 << 22:
        return None
    return _monotone(node, ranges)


def _monotone(node: Node, ranges: Ranges) -> list[Range] | None:
    """Operators that are non-decreasing in every input element: evaluates the lowest and the highest codes."""
    inputs = [tensor for tensor in node.inputs if tensor is not None]
    if not all(is_quantized(tensor) and tensor.size <= _LARGEST for tensor in (*inputs, *node.outputs)):
        return None
    results = []
    for end in ("low", "high"):
        values = [np.broadcast_to(getattr(ranges[t.name], end), t.shape).astype(t.dtype) for t in inputs]
        results.append(node.op.evaluate(node, values))
    return [
        Range(
            low.reshape(-1, low.shape[-1]).min(axis=0).astype(np.int64),
            high.reshape(-1, high.shape[-1]).max(axis=0).astype(np.int64),
        )
        for low, high in zip(*results, strict=True)
    ]


_Rule = Callable[[Node, Ranges], "list[Range] | None"]
_RULES: tuple[tuple[type | tuple[type, ...], _Rule], ...] = (
    (Conv2D, _conv_2d),
    (DepthwiseConv2D, _depthwise_conv_2d),
    (FullyConnected, _fully_connected),
    ((Unary, Quantize), _table),
    ((Add, Mul, Extremum), _binary),
    (Mean, _mean),
    ((Pool2D, ReduceMax, ReduceMin, Reshape, Concatenation, Pad, Movement), _monotone),
)
