"""CMSIS-NN for tests: it is in no registry, so a test that needs it is skipped where CMSIS_NN_PATH does not name it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from tests.support.differential import assert_same, random_codes
from tests.support.tflite_builder import ModelSpec, build
from tinygen.bench.bare_models import BareModels
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Program
from tinygen.lowering.select import CMSIS_NN
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.targets.cmsis_nn import VARIABLE, CmsisNn, find_checkout
from tinygen.targets.toolchain import find_toolchain

needs_cmsis_nn = pytest.mark.skipif(
    not os.environ.get(VARIABLE), reason=f"{VARIABLE} does not name a checkout of CMSIS-NN (it is in no registry)"
)


@cache
def library(board: str = "f746zg", toolchain: str = "zig") -> CmsisNn:
    """The library for an emulated board, or for the host."""
    target = load_board(board)
    return CmsisNn(find_checkout(None), target, find_toolchain(None if target.is_host else toolchain, target))


def lowered(graph: Graph, board: str = "f746zg", toolchain: str = "zig") -> Program:
    """A graph with the library's kernels."""
    return lower(simplify(graph), family=CMSIS_NN, isa=("c99", "dsp"), library=library(board, toolchain))


def expected(graph: Graph, program: Program, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The semantics, with the library's own arithmetic where a kernel declares one."""
    instead = {s.node.op.name: s.kernel.arithmetic for s in program.steps if s.kernel.arithmetic is not None}
    return evaluate(graph, sample, instead)


def compare_on_core(
    specs: Sequence[ModelSpec], *, toolchain: str = "zig", samples: int = 2, all_by_library: bool = True
) -> list[Program]:
    """Runs single-operator models on an emulated Cortex-M7 and compares them with `expected`.

    Args:
        all_by_library: demand that the library computes every one of them.
    """
    rng = np.random.default_rng(len(specs))
    graphs = [read_tflite(build(spec), name=f"m{i}") for i, spec in enumerate(specs)]
    programs = [lowered(graph, toolchain=toolchain) for graph in graphs]
    for spec, program in zip(specs, programs, strict=True):
        by_library = [step.kernel.family == CMSIS_NN for step in program.layers]
        assert all(by_library) or not all_by_library, f"{spec.label}: {program.layers[0].node.describe()}"
    user = library("f746zg", toolchain)
    bare = BareModels(programs, user.board, user.toolchain, library=user, strict=True)
    for index, (spec, graph, program) in enumerate(zip(specs, graphs, programs, strict=True)):
        for _ in range(samples):
            sample = [random_codes(tensor, rng) for tensor in spec.runtime_inputs]
            want = expected(graph, program, sample)
            assert_same(want, bare.run(index, sample).outputs, graph, f"{spec.label}: CMSIS-NN on the core")
    return programs
