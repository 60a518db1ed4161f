"""Comparisons and thresholds in C: the codes that the semantics gives, on the host and in an emulated core."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.differential import compare_code
from tests.support.gates import exits, images
from tinygen.ir.encodings import Affine, Encoding, Float32, Levels, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.tensor import Tensor
from tinygen.passes.pipeline import simplify

ENCODINGS: tuple[Encoding, ...] = (
    Affine("int8", (0.1,), (-3,)),
    Affine("int16", (0.1,), (0,)),
    Affine("uint8", (0.1,), (7,)),
    Plain("int32"),
    Float32(),
    Levels((0.5,), bits=3, signed=True),
)


def comparisons() -> list[Graph]:
    """Every relation and encoding, each once or more; against one element, and all."""
    graphs = []
    for number in range(12):
        encoding, relation = ENCODINGS[number % 6], list(Relation)[(number + number // 6) % 6]
        second = (1,) if number % 2 else (2, 5)
        tensors = (
            Tensor("a", (2, 5), encoding),
            Tensor("b", second, encoding),
            Tensor("y", (2, 5), Plain(("bool", "int8", "int32")[number % 3])),
        )
        op = Compare(name="compare", inputs=("a", "b"), outputs=("y",), relation=relation)
        graphs.append(Graph(f"m{number}", {t.name: t for t in tensors}, (op,), ("a", "b"), ("y",)))
    return graphs


def samples(graph: Graph) -> list[list[np.ndarray]]:
    """Codes near each other: all relations hold somewhere."""
    rng = np.random.default_rng(7)
    return [
        [rng.integers(1, 4, t.shape).astype(t.dtype) for t in map(graph.tensors.get, graph.inputs) if t]
        for _ in range(3)
    ]


def _compare(graphs: list[Graph], rows: list[list[list[np.ndarray]]], *, on_board: bool) -> None:
    for graph in graphs:
        graph.validate()
    expected = [[evaluate(graph, row) for row in every] for graph, every in zip(graphs, rows, strict=True)]
    compare_code([simplify(graph) for graph in graphs], rows, expected, ["compare"] * len(graphs), on_board=on_board)


def test_on_the_host() -> None:
    graphs = comparisons()
    _compare([*graphs, exits("net")], [*map(samples, graphs), images()], on_board=False)


@pytest.mark.long
def test_in_a_core() -> None:
    graphs = comparisons()
    _compare([*graphs, exits("net")], [*map(samples, graphs), images()], on_board=True)
