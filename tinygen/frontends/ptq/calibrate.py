"""Ranges of activations, measured on samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.errors import TinygenError
from tinygen.frontends.ptq.options import QuantizeOptions
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all

Sample = Sequence[np.ndarray]
"""One float array per input of the graph."""
Range = tuple[float, float]
_BINS = 2048


def observe_layers(graph: Graph, samples: Sequence[Sample], options: QuantizeOptions) -> dict[str, Range]:
    """(least, largest) of each float tensor of the graph itself that is computed at run time.

    Raises:
        TinygenError: there are no samples, or a value is not finite.
    """
    if not samples:
        raise TinygenError("there are no calibration samples", where=graph.name, fix="Give at least one input.")
    names = [name for name, tensor in graph.tensors.items() if not tensor.is_constant and tensor.is_float]
    ends = {name: _Ends(options) for name in names}
    for sample in samples:
        values = evaluate_all(graph, sample)
        for name in names:
            ends[name].add(values[name], name)
    ranges = {name: seen.range for name, seen in ends.items()}
    return _percentiles(graph, samples, ranges, options) if options.method == "percentile" else ranges


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
