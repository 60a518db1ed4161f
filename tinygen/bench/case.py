"""A case: a named model, and its entries for the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.frontends.load import load_model
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.encodings import Affine, Float32, Levels, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Trained:
    """Results of a network that was trained for a benchmark.

    Attributes:
        figures: of its accuracy, for the row.
        inputs: to measure with, instead of random ones; each has the codes of all the model's inputs.
        labels: their classes.
    """

    figures: dict[str, Any]
    inputs: Sequence[list[np.ndarray]]
    labels: Sequence[int]

    def right(self, outputs: Sequence[list[np.ndarray]]) -> int:
        """Of how many inputs the largest code of the first output is that of the class; the first of equal ones."""
        return sum(int(o[0].argmax()) == label for o, label in zip(outputs, self.labels, strict=True))


@dataclass(frozen=True, eq=False)
class Case:
    """A case of a benchmark, which becomes a row.

    Attributes:
        suite, name: unique together.
        model: a model file, or a model made in memory.
        shape: as text: "3x3 16->16 @32x32 s1 same", "1x49x10x1 -> 1x12".
        encoding: "int8", "int16x8", "float32".
        macs: multiply-accumulates of one inference, padded taps included.
        runs: whether the case is built and run; otherwise its C is only written, and that is timed.
        trained: results of training, for networks with an accuracy.
        figures: further figures for the row.
        switch: of a switchable model, the switch that is measured, in a firmware that has all of them; None for the
            sum of all.
        flash_bytes: limit for the firmware, see `BuildOptions`.
        gates: which gated layers compute live channels alone, see `BuildOptions`: a suite says what each form costs.
        board: to measure on, in suites with boards of their own; None for the board of the benchmark.
        toolchains: with `board`, the compilers that build for it.
        each: inferences cost different amounts: the row has the cycles of each sample, `sample_cycles`.
    """

    suite: str
    name: str
    model: Path | MemoryModel
    shape: str
    encoding: str
    macs: int
    runs: bool = True
    trained: Trained | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    switch: str | None = None
    flash_bytes: int | None = None
    gates: str = "always"
    board: str | None = None
    toolchains: tuple[str, ...] = ()
    each: bool = False

    @property
    def trained_figures(self) -> Mapping[str, Any]:
        """Empty for networks that were not trained."""
        return self.trained.figures if self.trained else {}

    def samples(self, graph: Graph) -> Sequence[list[np.ndarray]]:
        """Inputs to measure with, `graph` being the model's."""
        return self.trained.inputs if self.trained else samples_of(graph)


@dataclass(frozen=True)
class Skipped:
    """A model that a suite skips, with the reason."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def case_of(suite: str, name: str, model: Path | MemoryModel, shape: str = "") -> Case:
    """The case of a model; shape (by default from inputs to outputs), encoding and MACs come from its graph.

    Raises:
        TinygenError: the model cannot be read.
    """
    graph = load_model(model)
    macs = sum(node.op.macs(node) for node in graph.nodes())
    return Case(suite, name, model, shape or _ends(graph), encoding_of(graph), macs)


def _ends(graph: Graph) -> str:
    def text(names: tuple[str, ...]) -> str:
        return ", ".join("x".join(map(str, graph.tensors[name].shape)) for name in names)

    return f"{text(graph.inputs)} -> {text(graph.outputs)}"


def encoding_of(graph: Graph, layer: int = 0) -> str:
    """How the model computes: the encodings of its first (or another) layer with weights, else of its first input."""
    pairs = [node.inputs[:2] for node in graph.nodes() if node.op.macs(node) and len(node.inputs) > 1]
    known = [(x, weights) for x, weights in pairs if x is not None and weights is not None]
    if layer < len(known):
        return _pair(*known[layer])
    return graph.tensors[graph.inputs[0]].dtype.name if graph.inputs else ""


def _pair(x: Tensor, weights: Tensor) -> str:
    if not isinstance(x.encoding, Affine | Float32) or not isinstance(weights.encoding, Affine | Float32):
        return f"{_word(x)} x {_word(weights)}"
    if x.dtype == weights.dtype:
        return x.dtype.name
    return f"{x.dtype.name}x{8 * weights.dtype.itemsize}"


def _word(tensor: Tensor) -> str:
    """`4-bit`, `binary`, `int8`: an encoding without its scales."""
    match tensor.encoding:
        case Levels(bits=bits):
            return f"{bits}-bit"
        case Affine() | Float32() | Plain():
            return tensor.dtype.name
        case encoding:
            return str(encoding).partition(" scale")[0].partition(" x")[0]


def samples_of(graph: Graph, seed: int = 0) -> list[list[np.ndarray]]:
    """Inputs to measure with, always the same: uniform random codes, then a random walk over them.

    The walk is what the published counts were taken with: neighbours are alike, as in real signals.
    """
    rng = np.random.default_rng(seed)
    tensors = [graph.tensors[name] for name in graph.inputs]
    return [[_uniform(tensor, rng) for tensor in tensors], [_walk(tensor, rng) for tensor in tensors]]


def _uniform(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    if tensor.is_float:
        return rng.standard_normal(tensor.shape).astype(np.float32)
    low, high = _code_range(tensor)
    return rng.integers(low, high + 1, tensor.shape).astype(tensor.dtype)


def _code_range(tensor: Tensor) -> tuple[int, int]:
    """The tensor's codes, of wide ones those of 16 bits."""
    low, high = tensor.code_range
    return max(low, -(2**15)), min(high, 2**15 - 1)


def _walk(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    if tensor.is_float:
        return np.sin(np.cumsum(rng.standard_normal(tensor.shape), axis=None)).reshape(tensor.shape).astype(np.float32)
    low, high = _code_range(tensor)
    steps = rng.integers(-(high // 16) - 1, high // 16 + 2, tensor.size)
    # Reflected at both ends of the range.
    position = np.mod(np.cumsum(steps), 2 * (high - low))
    return (low + np.minimum(position, 2 * (high - low) - position)).astype(tensor.dtype).reshape(tensor.shape)
