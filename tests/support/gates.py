"""Networks whose gates compare with thresholds: what a small head says decides whether the rest runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.support.branches import gated
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.reduce import ReduceMax
from tinygen.ir.tensor import Tensor
from tinygen.ir.thresholds import new_threshold


def exits(name: str = "exits", codes: tuple[int, int] = (-95, -110)) -> Graph:
    """Two gates, one within a branch of the other: the largest score of the same head against EXIT_1, then EXIT_2.

    Args:
        codes: of the thresholds.
    """
    graph = gated(name)
    *head, choose, experts = graph.ops
    assert isinstance(experts, Branch)
    deep, conv, relu = experts.branches
    (scores,) = choose.inputs
    tensors = {n: t for n, t in graph.tensors.items() if n != "index"}
    encoding = tensors[scores].encoding
    thresholds = [new_threshold(f"EXIT_{1 + i}", encoding, code) for i, code in enumerate(codes)]
    tensors |= {tensor.name: tensor for tensor, _ in thresholds}
    largest = ReduceMax(name="largest", inputs=(scores,), outputs=("most",), axes=(0, 1), keep_dims=False)
    tensors |= {"most": Tensor("most", (), encoding), "leaves": Tensor("leaves", (), Plain("bool"))}
    first = Compare(name="gate", inputs=("most", "EXIT_1"), outputs=("leaves",), relation=Relation.GREATER)
    ports = {"x": tensors["x"], "most": tensors["most"], "EXIT_2": tensors["EXIT_2"]}
    inner = Graph(
        "later",
        {**ports, "leaves": tensors["leaves"], "y": tensors["y"]},
        (
            replace(first, name="gate", inputs=("most", "EXIT_2"), relation=Relation.GREATER_EQUAL),
            Branch(
                name="second",
                inputs=("leaves", "x"),
                outputs=("y",),
                branches=(_of_image(deep), _of_image(conv)),
            ),
        ),
        ("x", "most", "EXIT_2"),
        ("y",),
    )
    short = _of_image(relu)
    short = replace(short, tensors={**short.tensors, **ports}, inputs=inner.inputs)
    op = Branch(name="first", inputs=("leaves", *inner.inputs), outputs=("y",), branches=(inner, short))
    found = Graph(name, tensors, (*head, largest, first, op), ("x",), ("y",), tuple(state for _, state in thresholds))
    found.validate()
    return found


def _of_image(graph: Graph) -> Graph:
    """A branch that is given the image alone."""
    kept = {n: t for n, t in graph.tensors.items() if n not in ("side", "inner")}
    return replace(graph, tensors=kept, inputs=("x",))


def images(count: int = 12) -> list[list[np.ndarray]]:
    """They take every path of `exits`."""
    rng = np.random.default_rng(3)
    lows = np.linspace(-128, 40, count).astype(int)
    return [[rng.integers(low, low + 88, (1, 8, 8, 4)).astype(np.int8)] for low in lows]
