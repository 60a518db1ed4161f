"""BATCH_MATMUL of int8 codes: the tuned kernels, on shapes with rests of every loop."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.variants import check_variants
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.ir.tensor import Shape, Tensor

_SHAPES: list[tuple[Shape, Shape, bool, bool]] = [
    ((2, 5, 13), (2, 13, 6), False, False),
    ((3, 4, 8), (1, 7, 8), False, True),
    ((17, 6), (17, 4), True, False),
    ((1, 4), (9, 4), False, True),
    ((2, 3, 11), (2, 11, 5), False, False),
]


def _graph(name: str, first: Shape, second: Shape, adjoint: tuple[bool, bool], scale: float) -> Graph:
    op = BatchMatmul(
        name="product", inputs=("a", "b"), outputs=("y",), adjoint_first=adjoint[0], adjoint_second=adjoint[1]
    )
    a = Tensor("a", first, Affine("int8", (0.05,), (-128 if adjoint[0] else 9,)))
    b = Tensor("b", second, Affine("int8", (0.04,), (127 if adjoint[1] else 0,)))
    rows, columns = first[-1 if adjoint[0] else -2], second[-2 if adjoint[1] else -1]
    shape = (*np.broadcast_shapes(first[:-2], second[:-2]), rows, columns)
    y = Tensor("y", shape, Affine("int8", (scale,), (-5,)))
    graph = Graph(name, {"a": a, "b": b, "y": y}, (op,), ("a", "b"), ("y",))
    graph.validate()
    return graph


@pytest.mark.parametrize("isa", ["dsp", "scalar"])
def test_tuned(isa: str) -> None:
    """Outputs of small and of large scales: the second needs a left shift, and saturates."""
    graphs = [
        _graph(f"product{i}{j}", a, b, (left, right), scale)
        for i, (a, b, left, right) in enumerate(_SHAPES)
        for j, scale in enumerate((0.7, 0.0009))
    ]
    rng = np.random.default_rng(1)
    feeds = [
        [[rng.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in "ab"] for _ in range(2)]
        for graph in graphs
    ]
    assert check_variants(graphs, feeds, isa=(isa,), cores=[]) == len(graphs)
