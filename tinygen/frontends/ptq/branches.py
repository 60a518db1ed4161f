"""Branches of float models: ranges and encodings of their tensors, and their integer graphs.

Ranges and encodings of a tensor in a branch have the key `operator/branch/tensor`. Every branch runs on every sample,
since the integer condition may choose another branch than the float one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from tinygen.frontends.ptq.calibrate import Range, Sample, observe_layers
from tinygen.frontends.ptq.encodings import choose_layers
from tinygen.frontends.ptq.options import QuantizeOptions
from tinygen.ir.branch import Branch, branches_of
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.tensor import Tensor

T = TypeVar("T")


def observe(graph: Graph, samples: Sequence[Sample], options: QuantizeOptions) -> dict[str, Range]:
    """(least, largest) of each float tensor that is computed at run time; see `observe_layers`."""
    ranges = observe_layers(graph, samples, options)
    for op in branches_of(graph):
        given = [[evaluate_all(graph, sample)[name] for name in op.inputs[1:]] for sample in samples]
        for number, inner in enumerate(op.branches):
            found = observe(inner, given, options)
            ranges |= {f"{_prefix(op, number)}{name}": ends for name, ends in found.items()}
            for name, own in zip(op.outputs, inner.outputs, strict=True):
                if own in found:
                    ranges[name] = _union(ranges[name], found[own])
    return ranges


def _union(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), max(a[1], b[1])


def choose(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Affine]:
    """An encoding for each float tensor that is computed at run time; inputs and outputs of branches have those that
    the operator has outside."""
    own = {name: ends for name, ends in ranges.items() if name in graph.tensors}
    result = choose_layers(graph, own)
    for op in branches_of(graph):
        for number, inner in enumerate(op.branches):
            found = choose(inner, within(ranges, op, number))
            for names, outside in ((inner.outputs, op.outputs), (inner.inputs, op.inputs[1:])):
                found |= {a: result[b] for a, b in zip(names, outside, strict=True) if b in result}
            result |= {f"{_prefix(op, number)}{name}": encoding for name, encoding in found.items()}
    return result


def within(known: Mapping[str, T], op: Branch, number: int) -> dict[str, T]:
    """The entries of the tensors of a branch, and of nested branches, by their names within the branch."""
    prefix = _prefix(op, number)
    return {name.removeprefix(prefix): value for name, value in known.items() if name.startswith(prefix)}


def _prefix(op: Branch, number: int) -> str:
    return f"{op.name}/{number}/"


def with_outputs(graph: Graph, wanted: Sequence[Tensor]) -> Graph:
    """The branch with outputs of these encodings; an input that is passed through may need requantizing."""
    tensors, ops, outputs = dict(graph.tensors), list(graph.ops), []
    for number, (name, outside) in enumerate(zip(graph.outputs, wanted, strict=True)):
        if tensors[name].encoding == outside.encoding:
            outputs.append(name)
            continue
        fitted = f"{name}_rescaled_{number}"
        tensors[fitted] = replace(tensors[name], name=fitted, encoding=outside.encoding, data=None)
        ops.append(Quantize(name=fitted, inputs=(name,), outputs=(fitted,)))
        outputs.append(fitted)
    return replace(graph, tensors=tensors, ops=tuple(ops), outputs=tuple(outputs))


def threshold_codes(values: np.ndarray, encoding: Affine, *, upwards: bool) -> np.ndarray:
    """The least codes whose values are at least `values` (`upwards`), or else the largest at most; int8."""
    steps = np.asarray(values, np.float64) / encoding.scale[0]
    codes = (np.ceil(steps) if upwards else np.floor(steps)) + encoding.zero_point[0]
    return np.clip(codes, -128, 127).astype(np.int8)
