"""Comparisons, thresholds that the caller sets, and the paths that inputs take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.support.gates import exits, images
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.encodings import Affine, Encoding, Float32, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream, evaluate, evaluate_all
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.paths import all_paths, count_paths, path_of, trace
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor
from tinygen.ir.thresholds import thresholds_of, with_thresholds
from tinygen.passes.pipeline import simplify

PATHS = [
    (("first", 0), ("first/0/second", 0)),
    (("first", 0), ("first/0/second", 1)),
    (("first", 1),),
]


def comparison(relation: Relation, encoding: Encoding, second: tuple[int, ...] = (3,), out: str = "bool") -> Graph:
    tensors = (Tensor("a", (3,), encoding), Tensor("b", second, encoding), Tensor("y", (3,), Plain(out)))
    op = Compare(name="compare", inputs=("a", "b"), outputs=("y",), relation=relation)
    return Graph("m", {tensor.name: tensor for tensor in tensors}, (op,), ("a", "b"), ("y",))


HOLDS = {
    Relation.LESS: [1, 0, 0],
    Relation.LESS_EQUAL: [1, 1, 0],
    Relation.GREATER: [0, 0, 1],
    Relation.GREATER_EQUAL: [0, 1, 1],
    Relation.EQUAL: [0, 1, 0],
    Relation.NOT_EQUAL: [1, 0, 1],
}


@pytest.mark.parametrize("relation", list(Relation))
def test_relations(relation: Relation) -> None:
    graph = comparison(relation, Affine("int8", (0.1,), (-3,)), (1,), "int32")
    graph.validate()
    (y,) = evaluate(graph, [np.array([4, 5, 6], np.int8), np.array([5], np.int8)])
    assert y.tolist() == HOLDS[relation] and y.dtype == np.int32


def test_nan_is_unlike_everything() -> None:
    row = np.array([np.nan] * 3, np.float32)
    found = [bool(evaluate(comparison(relation, Float32()), [row, row])[0].any()) for relation in Relation]
    assert found == [relation is Relation.NOT_EQUAL for relation in Relation]


@pytest.mark.parametrize(
    ("graph", "what"),
    [
        (comparison(Relation.LESS, Affine("int8", (0.1,), (-3,)), (2,)), "its operands do not broadcast"),
        (comparison(Relation.LESS, Plain("int8"), out="int16"), "must be bool, int8 or int32"),
        (comparison(Relation.LESS, Affine("int8", (0.1, 0.2, 0.3), (0, 0, 0), 0)), "is not supported"),
    ],
)
def test_what_cannot_be_compared(graph: Graph, what: str) -> None:
    with pytest.raises((ModelError, UnsupportedError), match=what):
        graph.validate()


def test_codes_of_two_scales_are_not_compared() -> None:
    graph = comparison(Relation.LESS, Affine("int8", (0.1,), (0,)))
    other = replace(graph.tensors["b"], encoding=Affine("int8", (0.2,), (0,)))
    with pytest.raises(UnsupportedError, match="cannot be compared with"):
        replace(graph, tensors={**graph.tensors, "b": other}).validate()


def test_paths() -> None:
    graph = exits()
    assert all_paths(graph) == PATHS
    counts = count_paths(graph, images())
    assert sorted(counts) == PATHS and sum(counts.values()) == len(images())
    assert all_paths(graph, 2) == PATHS[:2]


def test_a_trace_looks_into_branches() -> None:
    graph = exits()
    for row in images():
        found, plain = trace(graph, row), evaluate_all(graph, row)
        assert all(np.array_equal(found.values[name], codes) for name, codes in plain.items())
        last = "/".join(str(part) for part in found.path[-1])
        outputs = [codes for name, codes in found.values.items() if name.startswith(f"{last}/") and codes.ndim == 4]
        assert np.array_equal(outputs[-1], found.values["y"])


def test_thresholds_move_paths() -> None:
    graph = exits()
    assert [(one.name, one.value, one.low, one.high) for one in thresholds_of(graph)] == [
        ("EXIT_1", -95, -128, 127),
        ("EXIT_2", -110, -128, 127),
    ]
    for values, path in (
        ({"exit_1": -128}, 2),
        ({"EXIT_1": 127, "EXIT_2": -128}, 1),
        ({"EXIT_1": 127, "EXIT_2": 127}, 0),
    ):
        moved = with_thresholds(graph, values)
        assert {path_of(moved, row) for row in images()} == {PATHS[path]}
    assert with_thresholds(graph, {}) is graph


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("EXIT_3", 0, "no threshold 'EXIT_3'"), ("EXIT_1", 128, "codes are -128 to 127"), ("EXIT_1", -129, "cannot be")],
)
def test_bad_thresholds(name: str, value: int, what: str) -> None:
    with pytest.raises(TinygenError, match=what):
        with_thresholds(exits(), {name: value})


WRONG: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "not for C": (lambda g: with_state(g, threshold="exit-1"), "a name that C cannot have"),
    "twice": (lambda g: with_state(g, threshold="exit_2"), "is there twice"),
    "changes": (lambda g: with_state(g, update="EXIT_2"), "becomes 'EXIT_2'"),
    "two codes": (lambda g: with_tensor(g, (2,), g.tensors["EXIT_1"].encoding), "must be one integer code"),
    "float": (lambda g: with_tensor(g, (1,), Float32()), "must be one integer code"),
}


def with_state(graph: Graph, **changes: str) -> Graph:
    first, *rest = graph.states
    return replace(graph, states=(replace(first, **changes), *rest))  # type: ignore[arg-type]


def with_tensor(graph: Graph, shape: tuple[int, ...], encoding: Encoding) -> Graph:
    """Another threshold, that nothing reads."""
    tensor = Tensor("own", shape, encoding)
    state = State("own", "own", np.zeros(shape, encoding.dtype), "OWN")
    return replace(graph, tensors={**graph.tensors, "own": tensor}, states=(*graph.states, state))


@pytest.mark.parametrize("what", list(WRONG))
def test_refused(what: str) -> None:
    change, message = WRONG[what]
    with pytest.raises(ModelError, match=message):
        change(exits()).validate()


def test_files_keep_thresholds() -> None:
    graph = exits()
    content = write_tg(graph)
    loaded = read_tg(content)
    assert write_tg(loaded) == content and thresholds_of(loaded)[0].value == -95
    ids = [MemoryModel(one, "m").read_bytes() for one in (graph, loaded, with_state(graph, threshold="EXIT_9"))]
    assert ids[0] == ids[1] != ids[2]


def test_passes_take_no_threshold_for_what_it_is_now() -> None:
    """Whatever it is set to: it stays what operators read, and does not become a constant."""
    simple = simplify(exits())
    assert [one.name for one in thresholds_of(simple)] == ["EXIT_1", "EXIT_2"]
    for values in ({"EXIT_1": 127}, {"EXIT_1": -128}):
        pair = [with_thresholds(one, values) for one in (exits(), simple)]
        for row in images(4):
            assert np.array_equal(evaluate(pair[0], row)[0], evaluate(pair[1], row)[0])


def test_thresholds_do_not_make_a_stream() -> None:
    graph = exits()
    stream = Stream(graph)
    first = stream.step(images()[0])
    assert not graph.is_stream and np.array_equal(stream.step(images()[0])[0], first[0])
