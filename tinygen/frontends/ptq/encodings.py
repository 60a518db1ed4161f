"""Ranges to encodings: one per tensor, shared where an operator requires it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinygen.frontends.ptq.calibrate import Range
from tinygen.frontends.ptq.roles import SAME_SCALE, activations, fixed_output, must_be_fixed, readers
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op

_LEVELS = 255
_TINY = 2.0**-100
_IN_AND_OUT = 2
_COARSER = 4
"""From this many times coarser steps on, a tensor is rescaled in front of an operator that wants one encoding."""


def affine(low: float, high: float) -> Affine:
    """The int8 encoding of a range; zero is always represented exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / _LEVELS))
    if scale < _TINY:
        # All values are zero: any scale is right.
        scale = float(np.float32(1 / _LEVELS))
    zero = int(np.clip(np.round(-128 - low / scale), -128, 127))
    return Affine("int8", (scale,), (zero,))


def represented(encoding: Affine) -> Range:
    """The least and the largest value that int8 codes stand for."""
    scale, zero = encoding.scale[0], encoding.zero_point[0]
    return scale * (-128 - zero), scale * (127 - zero)


def choose_layers(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Affine]:
    """An encoding for each tensor of the graph itself that has a range.

    Tensors that an operator requires to have equal encodings share that of their common range; see `_Groups`. If one of
    them has a fixed encoding (softmax, sigmoid, tanh), all have it, provided that it covers their ranges.
    """
    groups = _Groups(graph, ranges)
    fixed = {name: encoding for op in graph.ops if (encoding := fixed_output(op)) for name in op.outputs}
    rigid = {name for op in graph.ops if must_be_fixed(op) for name in op.outputs}
    members: dict[str, list[str]] = {}
    for name in ranges:
        members.setdefault(groups.root(name), []).append(name)
    result: dict[str, Affine] = {}
    for names in members.values():
        low, high = min(ranges[name][0] for name in names), max(ranges[name][1] for name in names)
        wanted = {fixed[name] for name in names if name in fixed}
        shared = affine(low, high)
        if len(wanted) == 1 and _covers(next(iter(wanted)), low, high):
            shared = wanted.pop()
        result |= {name: fixed[name] if name in rigid else shared for name in names}
    return result


def _covers(encoding: Affine, low: float, high: float) -> bool:
    """Whether the encoding covers the range, with a tolerance of half a step."""
    scale, zero = encoding.scale[0], encoding.zero_point[0]
    return scale * (-128.5 - zero) <= low and high <= scale * (128 - zero)


def _width(values: Range) -> float:
    """Of the range with zero in it."""
    return max(values[1], 0.0) - min(values[0], 0.0)


class _Groups:
    """Tensors that should share an encoding.

    Operators of one input tie it to their output. Of those of several, an input whose values need a far finer encoding
    than the others, for operators of other kinds, keeps its own: it is rescaled in front of the operator.
    """

    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self.graph, self._read = graph, readers(graph)
        self.parent = {name: name for name, tensor in graph.tensors.items() if not tensor.is_constant}
        self._ranges = dict(ranges)
        self._finer = {name for name in self.parent if self._needs_precision(name)}
        tying = [op for op in graph.ops if isinstance(op, SAME_SCALE)]
        for op in sorted(tying, key=lambda op: len(self._tied(op)) > _IN_AND_OUT):
            names = self._tied(op)
            for name in names[1:]:
                if len(names) <= _IN_AND_OUT or not self._is_finer(name, names):
                    self._join(names[0], name)

    def root(self, name: str) -> str:
        """A representative; the same for all of a group."""
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def _tied(self, op: Op) -> list[str]:
        """Output and inputs."""
        names = (*op.outputs, *activations(self.graph, op))
        return [name for name in dict.fromkeys(names) if self.graph.tensors[name].is_float]

    def _needs_precision(self, name: str) -> bool:
        return name in self.graph.outputs or any(not isinstance(op, SAME_SCALE) for op in self._read.get(name, ()))

    def _is_finer(self, name: str, names: Sequence[str]) -> bool:
        every = [self._ranges[self.root(other)] for other in names]
        common = min(low for low, _ in every), max(high for _, high in every)
        return self.root(name) in self._finer and _width(self._ranges[self.root(name)]) * _COARSER < _width(common)

    def _join(self, one: str, other: str) -> None:
        kept, gone = self.root(one), self.root(other)
        if kept == gone:
            return
        self.parent[gone] = kept
        (low, high), (least, most) = self._ranges[kept], self._ranges[gone]
        self._ranges[kept] = min(low, least), max(high, most)
        if gone in self._finer:
            self._finer.add(kept)
