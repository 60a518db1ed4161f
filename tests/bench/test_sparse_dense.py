"""The sparse dense layers of the benchmark, and whether the lowering takes the right kernel for them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from unittest.mock import patch

import numpy as np
import pytest

from tests.support.host_batch import write_sources
from tinygen.bench.bare_models import BareModels
from tinygen.bench.case import samples_of
from tinygen.bench.sparse_dense import PATTERNS, SHAPES, dense_cases, sparse_fully_connected
from tinygen.frontends.load import load_model
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.lowering import lower as lowering
from tinygen.lowering.plan import registered_kernels
from tinygen.lowering.program import Program
from tinygen.lowering.select import Choice, choose
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain

CASES = dense_cases()
BOARDS = ("f746zg", "netduinoplus2")
DENSE = "fully_connected_dsp_4"
_NEAR = 1.2
"""Chosen kernels may be so much slower than the best: 5 % for less flash, and predictions are for boards, whose flash
waits for whoever reads much of it, not for these bare cores."""


def test_cases() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) == len(SHAPES) * sum(len(p.sparsities) for p in PATTERNS)
    for case in CASES:
        sparsity = int(case.name.rpartition("_")[2])
        weights = load_model(case.model).tensors["weights"].data
        assert weights is not None
        assert abs(100 * (1 - np.count_nonzero(weights) / weights.size) - sparsity) < 1, case.name
        assert case.encoding == "int8" and str(sparsity) in case.shape


@pytest.mark.parametrize("case", [c for c in CASES if c.name.startswith("dense_256")], ids=lambda case: case.name)
def test_worth_measuring(case) -> None:  # type: ignore[no-untyped-def]
    """Outputs spread over the codes, however few weights there are, so that a wrong kernel cannot hide."""
    graph = load_model(case.model)
    codes = [evaluate(graph, sample)[0].astype(int) for sample in samples_of(graph)]
    assert not np.array_equal(*codes)
    for values in codes:
        assert len(np.unique(values)) >= 40 and np.bincount(values.reshape(-1) + 128).max() <= 0.3 * values.size


def test_of_four_has_groups() -> None:
    pattern = next(pattern for pattern in PATTERNS if pattern.label == "of4")
    mask = pattern.mask((8, 30), 0.5, np.random.default_rng(0))
    assert np.all(np.pad(mask, ((0, 0), (0, 2))).reshape(8, 8, 4)[:, :7].sum(axis=-1) == 2)


def _program(graph: Graph, kernel_name: str | None, isa: tuple[str, ...]) -> Program:
    """With a kernel by name, or the one that the lowering takes."""

    def pick(node: Node, family: str, *_: object) -> Choice:
        found = [k for k in registered_kernels() if type(node.op) in k.ops and k.name == kernel_name]
        return Choice(found[0], found[0].variants(node)) if found else choose(node, family, isa)

    with patch.object(lowering, "choose", pick):
        return lowering.lower(graph, isa=isa)


def _sparse(graph: Graph, isa: tuple[str, ...]) -> list[str]:
    node = next(iter(graph.nodes()))
    return [
        k.name
        for k in registered_kernels()
        if type(node.op) in k.ops and "_sparse" in k.name and k.isa == "dsp" and k.isa in isa and k.variants(node)
    ]


@cache
def _measured(board_name: str, label: str, sparsity: int) -> tuple[int, int, int]:
    """Predicted cycles (dense kernel, best sparse kernel, lowering's choice) of a layer 256 -> 64."""
    board = load_board(board_name)
    pattern = next(pattern for pattern in PATTERNS if pattern.label == label)
    graph = sparse_fully_connected(f"layer_{label}_{sparsity}", 256, 64, pattern, 1 - sparsity / 100).graph
    names = [DENSE, *_sparse(graph, board.isa), None]
    programs = [_program(replace(graph, name=f"m{i}"), name, board.isa) for i, name in enumerate(names)]
    bare = BareModels(programs, board, find_toolchain("zig", board), write=write_sources)
    sample = samples_of(graph)[0]
    semantics = evaluate(graph, sample)[0]
    runs = [bare.run(i, sample) for i in range(len(names))]
    assert all(np.array_equal(run.outputs[0].reshape(semantics.shape), semantics) for run in runs)
    cycles = [run.cycles for run in runs]
    return cycles[0], min(cycles[1:-1]), cycles[-1]


@pytest.mark.parametrize(
    ("label", "board"),
    [
        pytest.param(label, board, marks=() if (label, board) == ("4x4", "netduinoplus2") else pytest.mark.long)
        for label in ("single", "4x4")
        for board in BOARDS
    ],
)
def test_right_on_both_sides(label: str, board: str) -> None:
    """Few zeros: dense; many: sparse; and never far from the better of both."""
    points = []
    for sparsity in (25, 50, 80, 95):
        dense, sparse, chosen = _measured(board, label, sparsity)
        assert chosen <= _NEAR * min(dense, sparse), (sparsity, dense, sparse, chosen)
        points.append((sparsity, dense, sparse))
    assert points[0][2] > points[0][1] and points[-1][2] < 0.5 * points[-1][1]
