"""One encoding for tensors that an operator wants alike: that of all their ranges together."""

from __future__ import annotations

from itertools import permutations

import pytest

from tinygen.frontends.ptq.branches import choose
from tinygen.frontends.ptq.encodings import affine
from tinygen.ir.encodings import Float32
from tinygen.ir.graph import Graph
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.tensor import Tensor

RANGES = ((-1.0, 5.0), (-2.0, 1.0), (0.0, 0.5))


@pytest.mark.parametrize("ranges", permutations(RANGES))
def test_joined_tensors(ranges: tuple[tuple[float, float], ...]) -> None:
    names = ("a", "b", "c")
    tensors = {name: Tensor(name, (1, 2), Float32()) for name in names} | {"y": Tensor("y", (1, 6), Float32())}
    op = Concatenation(name="join", inputs=names, outputs=("y",), axis=1)
    graph = Graph("g", tensors, (op,), names, ("y",))
    graph.validate()
    known = dict(zip((*names, "y"), (*ranges, (-2.0, 5.0)), strict=True))
    assert set(choose(graph, known).values()) == {affine(-2.0, 5.0)}
    # Each end may be known of one tensor alone, the output's range or an input's.
    narrow = {**known, "y": (0.0, 0.0)}
    assert set(choose(graph, narrow).values()) == {affine(-2.0, 5.0)}
