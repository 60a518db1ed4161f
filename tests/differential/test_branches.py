"""Branches: every index of random graphs, one branch within the other, on the host and in emulated cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.bare_batch import run_on_bare_core
from tests.support.branches import gated, random_graph, random_samples
from tests.support.cases import draws
from tests.support.differential import compare_code
from tests.support.host_batch import run_on_host
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Io
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board

Samples = list[list[np.ndarray]]


def cases(what: str, count: int) -> tuple[list[Graph], list[Samples], list[Samples]]:
    """Random graphs, samples of each, and what they give; no pass has seen them."""
    graphs = [random_graph(draw, f"m{number}") for number, draw in enumerate(draws(what, count))]
    samples = [random_samples(graph, number) for number, graph in enumerate(graphs)]
    expected = [[evaluate(graph, row) for row in rows] for graph, rows in zip(graphs, samples, strict=True)]
    return graphs, samples, expected


def _compare(what: str, count: int, *, on_board: bool) -> None:
    graphs, samples, expected = cases(what, count)
    labels = ["branches"] * count
    compare_code([simplify(graph) for graph in graphs], samples, expected, labels, on_board=on_board)


def test_random_graphs_on_the_host() -> None:
    _compare("branches on the host", 12, on_board=False)


def test_random_graphs_in_a_core() -> None:
    _compare("branches in a core", 6, on_board=True)


@pytest.mark.long
def test_many_random_graphs() -> None:
    _compare("many branches", 100, on_board=True)


def test_saved_and_loaded_with_buffers_of_the_caller(tmp_path: Path) -> None:
    graphs, samples, expected = cases("branches in files", 6)
    loaded = [read_tg(write_tg(graph)) for graph in graphs]
    assert [write_tg(graph) for graph in loaded] == [write_tg(graph) for graph in graphs]
    programs = [lower(simplify(graph), isa=("c99", "dsp"), io=Io.CALLER) for graph in loaded]
    found = run_on_host(programs, samples, tmp_path)
    for rows, wanted in zip(found, expected, strict=True):
        for row, want in zip(rows, wanted, strict=True):
            np.testing.assert_allclose(row[0], want[0], rtol=1e-5, atol=1e-5 if want[0].dtype == np.float32 else 0)


def test_on_an_esp32c3(tmp_path: Path) -> None:
    """A network that chooses for itself; its samples take every branch."""
    graph, board = gated(), load_board("esp32c3")
    rng = np.random.default_rng(3)
    rows = [[rng.integers(low, low + 90, (1, 8, 8, 4)).astype(np.int8)] for low in range(-128, 40, 8)]
    assert {int(evaluate_all(graph, row)["index"][0]) for row in rows} == {0, 1, 2}
    program = lower(simplify(graph), isa=board.isa)
    (found,) = run_on_bare_core([program], [rows], tmp_path, board)
    for row, sample in zip(found, rows, strict=True):
        np.testing.assert_array_equal(row[0], evaluate(graph, sample)[0])
