"""Ranges of activations, measured on samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.errors import TinygenError
from tinygen.frontends.ptq.options import QuantizeOptions
from tinygen.frontends.ptq.roles import readers
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.lstm import Lstm
from tinygen.ir.ops.movement import Movement
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.softmax import Softmax

Sample = Sequence[np.ndarray]
"""One float array per input of the graph."""
Range = tuple[float, float]
_BINS = 2048
_NEGLIGIBLE = 10.0
"""exp(-10) is a hundredth of one of softmax's 256 steps."""


def observe_layers(graph: Graph, samples: Sequence[Sample], options: QuantizeOptions) -> dict[str, Range]:
    """(least, largest) of each float tensor of the graph itself that is computed at run time.

    Raises:
        TinygenError: there are no samples, or a value is not finite.
    """
    if not samples:
        raise TinygenError("there are no calibration samples", where=graph.name, fix="Give at least one input.")
    names = [name for name, tensor in graph.tensors.items() if not tensor.is_constant and tensor.is_float]
    ends = {name: _Ends(options) for name in names}
    softmax = read_by_softmax(graph)
    recurrent = [op for op in graph.ops if isinstance(op, Lstm)]
    peaks = dict.fromkeys((op.inputs[0] for op in softmax.values()), np.inf)
    for sample in samples:
        values = evaluate_all(graph, sample)
        for name in names:
            ends[name].add(values[name], name)
        for lstm in recurrent:
            cell = lstm.outputs[2]
            ends[cell].add(lstm.cells(graph.node(lstm), _operands(graph, lstm, values)), cell)
        peaks = {name: min(least, float(values[name].max(axis=-1).min())) for name, least in peaks.items()}
    ranges = {name: seen.range for name, seen in ends.items()}
    if options.method == "percentile":
        ranges = _percentiles(graph, samples, ranges, options)
    for name, op in softmax.items():
        low, high = ranges[name]
        ranges[name] = (min(max(low, peaks[op.inputs[0]] - _NEGLIGIBLE / op.beta), high), high)
    return ranges


def _operands(graph: Graph, op: Op, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Values of an operator's inputs; an empty one for what is absent."""
    constants = {name: tensor.data for name, tensor in graph.tensors.items() if tensor.data is not None}
    known = {**constants, **values}
    return [known[name] if name else np.empty(0) for name in op.inputs]


def read_by_softmax(graph: Graph) -> dict[str, Softmax]:
    """Tensors of which nothing but a softmax sees the elements, with that softmax.

    What lies far below a row's largest element, as masked elements of attention do, need not be represented: its share
    is 0.
    """
    read, found = readers(graph), dict[str, Softmax]()
    for op in reversed(graph.ops):
        for name in op.outputs:
            if name in graph.outputs or not read.get(name):
                continue
            behind = {id(end): end for end in (_softmax_of(reader, found) for reader in read[name])}
            end = next(iter(behind.values()))
            if len(behind) == 1 and end is not None:
                found[name] = end
    return found


def _softmax_of(reader: Op, found: Mapping[str, Softmax]) -> Softmax | None:
    if isinstance(reader, Softmax):
        return reader
    moves = isinstance(reader, Reshape | Movement) and len(reader.outputs) == 1
    return found.get(reader.outputs[0]) if moves else None


class _Ends:
    """The least and the largest value so far, or their moving averages."""

    def __init__(self, options: QuantizeOptions) -> None:
        self.momentum = options.momentum if options.method == "moving_average" else None
        self.range: Range = (np.inf, -np.inf)

    def add(self, values: np.ndarray, name: str) -> None:
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise TinygenError("calibration gives values that are not finite", where=f"tensor '{name}'")
        first = self.range[0] > self.range[1]
        if self.momentum is None:
            self.range = (min(self.range[0], low), max(self.range[1], high))
        elif first:
            self.range = (low, high)
        else:
            rest = 1 - self.momentum
            self.range = (rest * self.range[0] + self.momentum * low, rest * self.range[1] + self.momentum * high)


def _percentiles(
    graph: Graph, samples: Sequence[Sample], ranges: dict[str, Range], options: QuantizeOptions
) -> dict[str, Range]:
    """Percentile ranges, with the precision of a histogram bin over the whole range."""
    counts = {name: np.zeros(_BINS, np.int64) for name in ranges}
    for sample in samples:
        values = evaluate_all(graph, sample)
        for name, (low, high) in ranges.items():
            counts[name] += np.histogram(values[name], _BINS, (low, high if high > low else low + 1))[0]
    outside = 1 - options.percentile / 100
    result = {}
    for name, (low, high) in ranges.items():
        share = np.cumsum(counts[name]) / counts[name].sum()
        step = (high - low) / _BINS
        first = int(np.searchsorted(share, outside, side="right"))
        last = int(np.searchsorted(share, 1 - outside, side="left"))
        result[name] = (low + step * first, low + step * (min(last, _BINS - 1) + 1))
    return result
