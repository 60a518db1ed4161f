"""Branches: what each index means, and which graphs cannot be branches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.support.branches import constant, handing_on, layers, ports
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.branch import MOST_NESTED, Branch
from tinygen.ir.encodings import Affine, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor

SHAPE = (1, 3, 2, 4)


def three(index: str = "int8") -> Graph:
    """Gives x, side or zeros."""
    bodies = (
        handing_on("x", "int8", SHAPE, index),
        handing_on("side", "int8", SHAPE, index),
        constant("int8", SHAPE, index),
    )
    return chosen(bodies, index)


def chosen(bodies: tuple[Graph, ...], index: str = "int8") -> Graph:
    outer = ports("int8", SHAPE, index)
    op = Branch(name="choice", inputs=("inner", "x", "side", "inner"), outputs=("y",), branches=bodies)
    tensors = {**outer, "y": replace(outer["x"], name="y")}
    return Graph("m", tensors, (op,), ("inner", "x", "side"), ("y",))


def operator(graph: Graph) -> Branch:
    (op,) = graph.ops
    assert isinstance(op, Branch)
    return op


def values(graph: Graph, index: int) -> list[np.ndarray]:
    dtype = graph.tensors["inner"].dtype
    return [np.full(1, index).astype(dtype), np.full(SHAPE, 1, np.int8), np.full(SHAPE, 2, np.int8)]


@pytest.mark.parametrize(("index", "want"), [(0, 1), (1, 2), (2, -20), (3, -20), (127, -20), (-1, -20), (-128, -20)])
def test_an_index_that_no_branch_has_means_the_last(index: int, want: int) -> None:
    graph = three()
    graph.validate()
    (y,) = evaluate(graph, values(graph, index))
    assert (y == want).all() and y.shape == SHAPE


def test_a_bool_chooses_the_second_if_it_holds() -> None:
    graph = three("bool")
    assert [int(evaluate(graph, values(graph, index))[0].max()) for index in (0, 1)] == [1, 2]


def nested(depth: int) -> Graph:
    body = handing_on("x", "int8", SHAPE, "int8")
    for _ in range(depth):
        inside = chosen((body,))
        body = replace(inside, inputs=("x", "side", "inner"))
    return replace(body, inputs=("inner", "x", "side"))


def test_depth() -> None:
    nested(MOST_NESTED).validate()
    with pytest.raises(UnsupportedError, match="more than 8 branches within each other"):
        nested(MOST_NESTED + 1).validate()


@pytest.mark.parametrize("depth", [9, 20, 100])
def test_files_of_many_branches_within_each_other(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, however deep they lie, and by whatever is met first."""
    with monkeypatch.context() as unchecked:
        unchecked.setattr(Graph, "validate", lambda self: None)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(20 * limit)
        content = write_tg(nested(depth))
        sys.setrecursionlimit(limit)
    with pytest.raises(TinygenError):
        read_tg(content)


WRONG: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "no branches": (lambda g: with_op(g, branches=()), "has no branches"),
    "index of two": (lambda g: with_index(g, (2,), Plain("int8")), "must be one element of bool, int8, int32"),
    "index of int64": (lambda g: with_index(g, (1,), Plain("int64")), "must be one element of bool, int8, int32"),
    "index with a scale": (lambda g: with_index(g, (1,), Affine("int8", (1.0,), (0,))), "must be one element"),
    "no index": (lambda g: with_op(g, inputs=()), "is missing"),
    "an input less": (lambda g: with_op(g, inputs=("inner", "x", "side")), "has 3 inputs, the operator 2"),
    "inputs exchanged": (lambda g: with_op(g, inputs=("inner", "x", "inner", "side")), "input 'side' is int8"),
    "two outputs": (lambda g: with_body(g, outputs=("x", "x")), "has 2 outputs, the operator 1"),
    "another output": (lambda g: with_body(g, outputs=("inner",)), "output 'inner' is int8 [1] of int8, outside"),
    "an input twice": (lambda g: with_body(g, inputs=("x", "x", "inner")), "has an input twice"),
    "never written": (lambda g: with_body(g, outputs=("nothing",), more="nothing"), "'nothing' is never written"),
    "states": (lambda g: with_body(g, states=(State("x", "x", np.zeros(SHAPE, np.int8)),)), "keeps states"),
}


def with_op(graph: Graph, **changes: object) -> Graph:
    return replace(graph, ops=(replace(operator(graph), **changes),))  # type: ignore[arg-type]


def with_index(graph: Graph, shape: tuple[int, ...], encoding: Plain | Affine) -> Graph:
    op = replace(operator(graph), inputs=("other", "x", "side", "inner"))
    tensors = {**graph.tensors, "other": Tensor("other", shape, encoding)}
    return replace(graph, tensors=tensors, ops=(op,), inputs=(*graph.inputs, "other"))


def with_body(graph: Graph, more: str = "", **changes: object) -> Graph:
    """Another first branch."""
    first, *rest = operator(graph).branches
    tensors = {**first.tensors, more: replace(first.tensors["x"], name=more)} if more else first.tensors
    return with_op(graph, branches=(replace(first, tensors=tensors, **changes), *rest))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WRONG)
def test_refused(name: str) -> None:
    change, message = WRONG[name]
    with pytest.raises((ModelError, UnsupportedError)) as caught:
        change(three()).validate()
    assert message in str(caught.value) and "choice" in str(caught.value)


def test_a_file_may_hold_anything_in_a_branch() -> None:
    """Names that are no C, in a branch: the same refusal as outside of it."""
    graph = chosen((layers("relu", "int8", SHAPE, "int8", 1),))
    body = operator(graph).branches[0]
    for change in ("a b", "x;y", "a/b"):
        renamed = replace(body, ops=tuple(replace(op, name=change) for op in body.ops[:1]) + body.ops[1:])
        with pytest.raises(ModelError, match="an operator cannot be called"):
            read_tg(write_tg(with_op(graph, branches=(renamed,))))


def test_models_that_differ_in_a_branch_only_are_not_one_build() -> None:
    graph = three()
    zeros = operator(graph).branches[2].tensors["zeros"]
    assert zeros.data is not None
    other = replace(zeros, data=zeros.data + 1)
    last = replace(operator(graph).branches[2], tensors={**operator(graph).branches[2].tensors, "zeros": other})
    changed = with_op(graph, branches=(*operator(graph).branches[:2], last))
    assert MemoryModel(graph, "m").read_bytes() != MemoryModel(changed, "m").read_bytes()
    assert MemoryModel(graph, "m").read_bytes() == MemoryModel(three(), "m").read_bytes()
