"""One call compares LiteRT's reference kernels, the semantics, and the C, over a batch of models."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np

from tests.support.board_batch import run_on_board
from tests.support.host_batch import describe, run_on_host
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Program
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify

FAMILIES = (("reference", ("c99",)), ("tinygen", ("c99", "dsp", "dual-issue")))
FLOAT_RELATIVE = 4e-5
"""Sums of a few hundred products, added in another order; a fused activation may have cut the largest."""

BOARD_SHARE = int(os.environ.get("TINYGEN_BOARD_SHARE", "4"))
"""Of a batch that is shared between host and core, one model in this many also runs in the emulated core."""


class Board(Enum):
    """Whether models run in the emulated core."""

    NONE = "on the host only"
    SHARE = "one in BOARD_SHARE, besides the host"
    ALL = "all of them, besides the host"
    ONLY = "in the core only"


CASES: Counter[str] = Counter()
"""How often each model was compared: by label, and behind a newline what tells it from others of that label."""

BOARD_CASES: Counter[str] = Counter()
"""The same of those in the emulated core."""


def count_models(graphs: Sequence[Graph], labels: Sequence[str], where: Counter[str] = CASES) -> None:
    """Takes note of what was compared; conftest.py prints how many different models there were."""
    where.update(f"{label}\n{_digest(graph)}" for graph, label in zip(graphs, labels, strict=True))


def distinct(cases: Counter[str]) -> Counter[str]:
    """How many different models there are of each label."""
    return Counter(known.partition("\n")[0] for known in cases)


def _digest(graph: Graph) -> str:
    known = zlib.crc32(repr((graph.ops, graph.inputs, graph.outputs)).encode())
    for tensor in graph.tensors.values():
        known = zlib.crc32(repr((tensor.name, tensor.shape, tensor.encoding)).encode(), known)
        if tensor.data is not None:
            known = zlib.crc32(np.ascontiguousarray(tensor.data).tobytes(), known)
    return f"{known:08x}"


_Compared = tuple[Graph, Sequence[Sequence[np.ndarray]], Sequence[list[np.ndarray]], str]
"""A graph, its samples, the outputs that it must give, and its label."""


def random_codes(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    """Codes over the type's whole range, extremes made likely; floats over several magnitudes."""
    codes = _any_codes(spec, rng)
    if spec.least is None:
        return codes
    # Mirrored first, so that few are the least one.
    above = np.abs(codes) if codes.dtype.kind == "f" else codes
    return np.maximum(above, np.asarray(spec.least, codes.dtype))


def _any_codes(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    shape = tuple(spec.shape)
    if spec.dtype == "float32":
        return (rng.normal(size=shape) * 10.0 ** rng.uniform(-1, 1)).astype(np.float32)
    if spec.dtype == "bool":
        return rng.random(shape) < 0.5
    info = np.iinfo(spec.dtype)
    if spec.dtype in ("int32", "int64"):
        return rng.integers(-1000, 1000, shape).astype(spec.dtype)
    codes = rng.integers(info.min, info.max + 1, shape)
    extreme = rng.random(shape)
    codes = np.where(extreme < 0.05, info.min, np.where(extreme > 0.95, info.max, codes))
    return codes.astype(spec.dtype)


def compare(specs: Sequence[ModelSpec], seed: int = 0, samples: int = 2, board: Board = Board.SHARE) -> None:
    """Asserts that every model gives the same outputs everywhere, for random inputs.

    Integers must be equal; floats within `FLOAT_RELATIVE` of the largest magnitude of the output.
    """
    _compare_random([build(spec) for spec in specs], specs, seed, samples, board)


def compare_built(models: Mapping[bytes, ModelSpec], board: Board = Board.SHARE) -> None:
    """The same for models whose files are there already."""
    _compare_random(list(models), list(models.values()), 0, 2, board)


def _compare_random(built: Sequence[bytes], specs: Sequence[ModelSpec], seed: int, samples: int, board: Board) -> None:
    rng = np.random.default_rng(seed)
    feeds = [[[random_codes(t, rng) for t in spec.runtime_inputs] for _ in range(samples)] for spec in specs]
    compare_models(built, feeds, [spec.label or str(spec.opcode) for spec in specs], board=board)


def compare_models(
    models: Sequence[bytes],
    feeds: Sequence[Sequence[Sequence[np.ndarray]]],
    labels: Sequence[str],
    board: Board = Board.SHARE,
) -> None:
    """The same for finished model files and given inputs."""
    graphs = [read_tflite(model, name=f"m{i}") for i, model in enumerate(models)]
    expected = [reference_outputs(model, feed) for model, feed in zip(models, feeds, strict=True)]
    for graph, feed, outputs, label in zip(graphs, feeds, expected, labels, strict=True):
        for sample, want in zip(feed, outputs, strict=True):
            assert_same(want, evaluate(graph, sample), graph, f"{label}: semantics")
    simple = [simplify(graph) for graph in graphs]
    _compare_code(list(zip(simple, feeds, expected, labels, strict=True)), board)


def compare_code(
    graphs: Sequence[Graph],
    feeds: Sequence[Sequence[Sequence[np.ndarray]]],
    expected: Sequence[Sequence[list[np.ndarray]]],
    labels: Sequence[str],
    *,
    on_board: bool | Board,
    streaming: Streaming | None = None,
) -> None:
    """Asserts that the C of each graph gives `expected`: on the host in every family, in the core when asked."""
    batch = list(zip(graphs, feeds, expected, labels, strict=True))
    if not isinstance(on_board, Board):
        on_board = Board.ALL if on_board else Board.NONE
    _compare_code(batch, on_board, streaming)


def _compare_code(batch: Sequence[_Compared], board: Board, streaming: Streaming | None = None) -> None:
    if board is not Board.ONLY:
        _compare_on_host(batch, streaming)
        count_models([graph for graph, *_ in batch], [label for *_, label in batch])
    if board is not Board.NONE:
        share = [one for one in batch if board is not Board.SHARE or _is_shared(one[0])]
        _compare_on_board(share, streaming)


def _is_shared(graph: Graph) -> bool:
    return int(_digest(graph), 16) % BOARD_SHARE == 0


def _compare_on_host(batch: Sequence[_Compared], streaming: Streaming | None) -> None:
    """Every family in one program; a model that a family computes with the same kernels as one before is there once."""
    programs, sources = [], []
    for one in batch:
        seen: list[list[str]] = []
        for family, isa in FAMILIES:
            program = lower(one[0], family=family, isa=isa, streaming=streaming)
            kernels = [step.kernel.name for step in program.steps]
            if kernels not in seen:
                seen.append(kernels)
                programs.append(renamed(program, f"{one[0].name}_{family}"))
                sources.append((one, family))
    with tempfile.TemporaryDirectory() as folder:
        results = run_on_host(programs, [one[1] for one, _ in sources], Path(folder))
    for (one, family), program, got in zip(sources, programs, results, strict=True):
        _assert_rows(one, got, f"host C, {family}", program)


def renamed(program: Program, name: str) -> Program:
    """The same program under another name: a batch has each name once."""
    return replace(program, graph=replace(program.graph, name=name))


def _compare_on_board(batch: Sequence[_Compared], streaming: Streaming | None) -> None:
    """The same C, compiled for a Cortex-M7 with its SIMD instructions, in the CPU emulator."""
    if not batch:
        return
    programs = [lower(graph, family="tinygen", isa=FAMILIES[1][1], streaming=streaming) for graph, *_ in batch]
    with tempfile.TemporaryDirectory() as folder:
        results = run_on_board(programs, [feed for _, feed, *_ in batch], Path(folder))
    for one, program, got in zip(batch, programs, results, strict=True):
        _assert_rows(one, got, "emulated Cortex-M7", program)
    count_models([graph for graph, *_ in batch], [label for *_, label in batch], BOARD_CASES)


def _assert_rows(one: _Compared, got: Sequence[list[np.ndarray]], who: str, program: Program) -> None:
    graph, _, outputs, label = one
    for row, want in zip(got, outputs, strict=True):
        assert_same(want, row, f"{graph}\n{describe(program)}", f"{label}: {who}")


def assert_same(want: list[np.ndarray], got: list[np.ndarray], graph: object, who: str) -> None:
    for index, (a, b) in enumerate(zip(want, got, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype, f"{who}: {a.shape} {a.dtype}, {b.shape} {b.dtype}\n{graph}"
        if a.dtype.kind == "f":
            # An element may be the small difference of large terms: errors are relative to the output's size.
            finite = np.isfinite(a)
            np.testing.assert_array_equal(a[~finite], b[~finite], f"{who}: output {index}\n{graph}")
            scale = max(float(np.max(np.abs(a[finite]), initial=0.0)), 1e-30)
            worst = float(np.max(np.abs(a[finite].astype(np.float64) - b[finite]), initial=0.0)) / scale
            assert worst <= FLOAT_RELATIVE, f"{who}: output {index} differs by {worst:.3g} relative\n{graph}"
        elif not np.array_equal(a, b):
            where = np.argwhere(a != b)
            first = tuple(where[0])
            raise AssertionError(
                f"{who}: output {index}: {len(where)} of {a.size} differ, first at {first}: "
                f"LiteRT {a[first]}, ours {b[first]}\n{graph}"
            )
