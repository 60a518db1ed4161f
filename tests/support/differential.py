"""One call compares LiteRT's reference kernels, the semantics, and the C, over a batch of models."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.board_batch import run_on_board
from tests.support.host_batch import run_on_host
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify

FAMILIES = (("reference", ("c99",)), ("tinygen", ("c99", "dsp", "dual-issue")))
FLOAT_RELATIVE = 4e-5
"""Sums of a few hundred products, added in another order; a fused activation may have cut the largest."""

BOARD_SHARE = int(os.environ.get("TINYGEN_BOARD_SHARE", "4"))
"""One batch in this many also runs in the emulated core; which, depends on the models alone."""

CASES: Counter[str] = Counter()
"""How many models each operator was compared on, by label; printed at the end of the test run."""

BOARD_CASES: Counter[str] = Counter()
"""How many of them also in the emulated core."""


def random_codes(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    """Codes over the type's whole range, extremes made likely; floats over several magnitudes."""
    shape = tuple(spec.shape)
    if spec.dtype == "float32":
        return (rng.normal(size=shape) * 10.0 ** rng.uniform(-1, 1)).astype(np.float32)
    info = np.iinfo(spec.dtype)
    if spec.dtype in ("int32", "int64"):
        return rng.integers(-1000, 1000, shape).astype(spec.dtype)
    codes = rng.integers(info.min, info.max + 1, shape)
    extreme = rng.random(shape)
    codes = np.where(extreme < 0.05, info.min, np.where(extreme > 0.95, info.max, codes))
    return codes.astype(spec.dtype)


def compare(specs: Sequence[ModelSpec], seed: int = 0, samples: int = 2) -> None:
    """Asserts that every model gives the same outputs everywhere, for random inputs.

    Integers must be equal; floats within 1e-5 relative to the largest magnitude of the output.
    """
    rng = np.random.default_rng(seed)
    models = [build(spec) for spec in specs]
    feeds = [[[random_codes(t, rng) for t in spec.runtime_inputs] for _ in range(samples)] for spec in specs]
    compare_models(models, feeds, [spec.label or str(spec.opcode) for spec in specs])


def compare_models(
    models: Sequence[bytes], feeds: Sequence[Sequence[Sequence[np.ndarray]]], labels: Sequence[str]
) -> None:
    """The same for finished model files and given inputs."""
    graphs = [read_tflite(model, name=f"m{i}") for i, model in enumerate(models)]
    expected = [reference_outputs(model, feed) for model, feed in zip(models, feeds, strict=True)]
    for graph, feed, outputs, label in zip(graphs, feeds, expected, labels, strict=True):
        for sample, want in zip(feed, outputs, strict=True):
            assert_same(want, evaluate(graph, sample), graph, f"{label}: semantics")
    on_board = zlib.crc32(b"".join(models)) % BOARD_SHARE == 0
    compare_code([simplify(graph) for graph in graphs], feeds, expected, labels, on_board=on_board)


def compare_code(
    graphs: Sequence[Graph],
    feeds: Sequence[Sequence[Sequence[np.ndarray]]],
    expected: Sequence[Sequence[list[np.ndarray]]],
    labels: Sequence[str],
    *,
    on_board: bool,
    streaming: Streaming | None = None,
) -> None:
    """Asserts that the C of each graph gives `expected`: on the host in every family, in the core when asked."""
    seen: list[list[str]] = []
    for family, isa in FAMILIES:
        programs = [lower(graph, family=family, isa=isa, streaming=streaming) for graph in graphs]
        kernels = [step.kernel.name for program in programs for step in program.steps]
        if kernels in seen:
            continue
        seen.append(kernels)
        with tempfile.TemporaryDirectory() as folder:
            results = run_on_host(programs, feeds, Path(folder))
        for graph, got, outputs, label in zip(graphs, results, expected, labels, strict=True):
            for row, want in zip(got, outputs, strict=True):
                assert_same(want, row, graph, f"{label}: host C, {family}")
    if on_board:
        _compare_on_board(graphs, feeds, expected, labels, streaming)
    CASES.update(labels)


def _compare_on_board(
    graphs: Sequence[Graph],
    feeds: Sequence[Sequence[Sequence[np.ndarray]]],
    expected: Sequence[Sequence[list[np.ndarray]]],
    labels: Sequence[str],
    streaming: Streaming | None,
) -> None:
    """The same C, compiled for a Cortex-M7 with its SIMD instructions, in the CPU emulator."""
    programs = [lower(graph, family="tinygen", isa=FAMILIES[1][1], streaming=streaming) for graph in graphs]
    with tempfile.TemporaryDirectory() as folder:
        results = run_on_board(programs, feeds, Path(folder))
    for graph, got, outputs, label in zip(graphs, results, expected, labels, strict=True):
        for row, want in zip(got, outputs, strict=True):
            assert_same(want, row, graph, f"{label}: emulated Cortex-M7")
    BOARD_CASES.update(labels)


def assert_same(want: list[np.ndarray], got: list[np.ndarray], graph: object, who: str) -> None:
    for index, (a, b) in enumerate(zip(want, got, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype, f"{who}: {a.shape} {a.dtype}, {b.shape} {b.dtype}\n{graph}"
        if a.dtype.kind == "f":
            # An element may be the small difference of large terms: errors are relative to the output's size.
            scale = max(float(np.max(np.abs(a), initial=0.0)), 1e-30)
            worst = float(np.max(np.abs(a.astype(np.float64) - b), initial=0.0)) / scale
            assert worst <= FLOAT_RELATIVE, f"{who}: output {index} differs by {worst:.3g} relative\n{graph}"
        elif not np.array_equal(a, b):
            where = np.argwhere(a != b)
            first = tuple(where[0])
            raise AssertionError(
                f"{who}: output {index}: {len(where)} of {a.size} differ, first at {first}: "
                f"LiteRT {a[first]}, ours {b[first]}\n{graph}"
            )


