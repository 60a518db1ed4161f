"""Ranges to encodings: one per tensor, shared where an operator requires it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinygen.frontends.ptq.calibrate import Range
from tinygen.frontends.ptq.roles import SAME_SCALE, activations, fixed_output, must_be_fixed
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph

_LEVELS = 255
_TINY = 2.0**-100


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

    Tensors that an operator requires to have equal encodings share that of their common range. If one of them has a
    fixed encoding (softmax, sigmoid, tanh), all have it, provided that it covers their ranges.
    """
    groups = _groups(graph)
    fixed = {name: encoding for op in graph.ops if (encoding := fixed_output(op)) for name in op.outputs}
    rigid = {name for op in graph.ops if must_be_fixed(op) for name in op.outputs}
    members: dict[str, list[str]] = {}
    for name in ranges:
        members.setdefault(groups[name], []).append(name)
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


def _groups(graph: Graph) -> dict[str, str]:
    """A representative per tensor; the same for tensors that should share an encoding."""
    parent = {name: name for name, tensor in graph.tensors.items() if not tensor.is_constant}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for op in graph.ops:
        if isinstance(op, SAME_SCALE):
            names = [name for name in (*activations(graph, op), *op.outputs) if graph.tensors[name].is_float]
            for name in names[1:]:
                parent[root(name)] = root(names[0])
    return {name: root(name) for name in parent}
