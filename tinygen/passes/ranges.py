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

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add, Extremum, Mul
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.movement import Movement
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import Pool2D
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.ops.reduce import Mean, ReduceMax, ReduceMin
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.unary import Unary
from tinygen.ir.tensor import Tensor
from tinygen.passes.integer_ranges import integer_range, is_integer
from tinygen.passes.mac_ranges import has_integers, is_quantized


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


def channel_ranges(graph: Graph, inputs: Ranges | None = None) -> dict[str, Range]:
    """The range of every quantized tensor, by name.

    Args:
        graph: validated.
        inputs: ranges of model inputs that do not use all codes of their type.
    """
    ranges = {tensor.name: _of_tensor(tensor) for tensor in graph.tensors.values() if has_integers(tensor)}
    ranges |= inputs or {}
    for node in graph.nodes():
        if (isinstance(node.op, MacLayer | Pool2D) or is_integer(node.op)) and has_integers(node.output):
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


def _of_tensor(tensor: Tensor) -> Range:
    channels = tensor.shape[-1]
    if tensor.data is not None:
        rows = tensor.data.reshape(-1, channels).astype(np.int64)
        return Range(rows.min(axis=0), rows.max(axis=0))
    low, high = tensor.code_range
    return Range(np.full(channels, low, np.int64), np.full(channels, high, np.int64))


def _table(node: Node, ranges: Ranges) -> list[Range] | None:
    """Elementwise function of one input: evaluates every code."""
    x = node.input(0)
    if not is_quantized(x):
        return None
    first = np.iinfo(x.dtype).min
    table = node.op.evaluate(node, [np.arange(first, np.iinfo(x.dtype).max + 1).astype(x.dtype)])[0].astype(np.int64)
    # Most channels have the same range, that of the whole type.
    ends, of_channel = np.unique(
        np.stack([ranges[x.name].low, ranges[x.name].high]) - first, axis=1, return_inverse=True
    )
    spans = [table[a : b + 1] for a, b in ends.T]
    extremes = np.array([(span.min(), span.max()) for span in spans])[of_channel.reshape(-1)]
    return [Range(extremes[:, 0], extremes[:, 1])]


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
    ((Unary, Quantize), _table),
    ((Add, Mul, Extremum), _binary),
    (Mean, _mean),
    ((ReduceMax, ReduceMin, Reshape, Concatenation, Pad, Movement), _monotone),
)
