"""Resource variables: what LiteRT gives, invocation by invocation; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator as Code

from tests.support.litert import reference_outputs
from tests.support.streaming_models import (
    ONLY_RUN,
    SMALL,
    WAKE_WORDS,
    Variables,
    add,
    assign,
    frames,
    needs_wake_words,
    read,
    wake_word,
)
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain
from tinygen.builds.oracle import LiteRt
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.passes.pipeline import simplify


def assert_as_litert(content: bytes, graphs: list[Graph], count: int) -> list[list[np.ndarray]]:
    """Gives LiteRT's outputs, which every graph must give too."""
    inputs = frames(graphs[0], count)
    expected = reference_outputs(content, inputs)
    for graph in graphs:
        stream = Stream(graph)
        for index, (sample, outputs) in enumerate(zip(inputs, expected, strict=True)):
            for ours, theirs in zip(stream.step(sample), outputs, strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs, err_msg=f"invocation {index}")
    return expected


@pytest.mark.parametrize("name", [*SMALL, *ONLY_RUN])
def test_small_models(name: str) -> None:
    content = (SMALL | ONLY_RUN)[name]()
    graph = read_tflite(content)
    expected = assert_as_litert(content, [graph, simplify(graph)], 60)
    assert len({outputs[0].tobytes() for outputs in expected}) > 5


@needs_wake_words
@pytest.mark.parametrize("name", [*WAKE_WORDS[:1], *(pytest.param(n, marks=pytest.mark.long) for n in WAKE_WORDS[1:])])
def test_wake_words(name: str) -> None:
    """Every tensor of every frame; enough that the longest state, 20 rows, one for each frame, was filled often."""
    graph = load_model(wake_word(name))
    assert len(graph.states) == 6
    names = [name for op in graph.ops for name in op.outputs]
    litert, stream, simple = LiteRt(wake_word(name), keep=True), Stream(graph), Stream(simplify(graph))
    differing, logits = 0, set()
    for sample in frames(graph, 120):
        expected = litert.infer(sample)
        theirs, ours = litert.intermediate(graph, names), stream.step_all(sample)
        assert len(theirs) == len(names)
        differing += sum(not np.array_equal(theirs[tensor], ours[tensor]) for tensor in names)
        np.testing.assert_array_equal(simple.step(sample)[0], expected[0])
        logits.add(ours[graph.ops[-2].inputs[0]].tobytes())
    assert differing == 0
    assert len(logits) > 20


@needs_wake_words
@pytest.mark.long
def test_a_wake_word_for_long() -> None:
    """The largest; a thousand frames of each: tests/verbs/test_streaming.py."""
    model = wake_word("okay_nabu")
    assert_as_litert(model.read_bytes(), [load_model(model)], 5000)


def test_states_are_read_first_and_changed_last() -> None:
    graph = read_tflite(SMALL["ring"]())
    (state,) = graph.states
    assert graph.ops[0].inputs[0] == state.tensor and graph.ops[1].outputs == (state.update,)
    assert np.all(state.initial == 3)


def test_evaluate_begins_anew_and_a_stream_after_reset() -> None:
    graph = read_tflite(SMALL["accumulator"]())
    stream = Stream(graph)
    x = [np.full((1, 4), 10, np.int8)]
    first, second = stream.step(x), stream.step(x)
    assert not np.array_equal(first[0], second[0])
    np.testing.assert_array_equal(evaluate(graph, x)[0], first[0])
    stream.reset()
    np.testing.assert_array_equal(stream.step(x)[0], first[0])


def test_states_that_nothing_reads_are_dropped() -> None:
    """One that only itself depends on goes, with its operators."""
    v = Variables()
    declared, handle = v.declare("sum", np.zeros((1, 4), np.int8))
    x, old, new, y = (v.tensor(1, 4) for _ in range(4))
    chain = [declared, read(handle, old), add(old, x, new), assign(handle, new), add(x, x, y)]
    graph = read_tflite(v.model(chain, [x], [y]))
    assert len(graph.states) == 1 and len(graph.ops) == 2
    smaller = simplify(graph)
    smaller.validate()
    assert not smaller.states and [op.outputs[0] for op in smaller.ops] == list(graph.outputs)


def _model(change: Callable[[Variables, dict[str, TensorSpec]], list[ModelSpec]]) -> bytes:
    """An accumulator with other operators behind VAR_HANDLE."""
    v = Variables()
    declared, handle = v.declare("sum", np.zeros((1, 4), np.int8))
    t = {"handle": handle} | {name: v.tensor(1, 4) for name in ("x", "old", "new")}
    return v.model([declared, *change(v, t)], [t["x"]], [t["new"]])


def _other_scale(v: Variables, t: dict[str, TensorSpec]) -> list[ModelSpec]:
    t["new"] = replace(t["new"], scale=0.25)
    return [read(t["handle"], t["old"]), add(t["old"], t["x"], t["new"]), assign(t["handle"], t["new"])]


def _constant(v: Variables, t: dict[str, TensorSpec]) -> list[ModelSpec]:
    four = v.tensor(1, 4, data=np.full((1, 4), 4, np.int8))
    return [read(t["handle"], t["old"]), add(t["old"], t["x"], t["new"]), assign(t["handle"], four)]


def _computed_at_first(v: Variables, t: dict[str, TensorSpec]) -> list[ModelSpec]:
    v.once.insert(0, add(*(v.tensor(1, 4, data=np.zeros((1, 4), np.int8)) for _ in range(2)), v.tensor(1, 4)))
    return [read(t["handle"], t["old"]), add(t["old"], t["x"], t["new"])]


def _never_begun(v: Variables, t: dict[str, TensorSpec]) -> list[ModelSpec]:
    v.once.clear()
    return [read(t["handle"], t["old"]), add(t["old"], t["x"], t["new"])]


def _begun_otherwise(v: Variables, t: dict[str, TensorSpec]) -> list[ModelSpec]:
    t["old"] = replace(t["old"], shape=(1, 1))
    return [read(t["handle"], t["old"]), add(t["old"], t["x"], t["new"])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_scale, "assigned as int8"),
        (_constant, "takes a constant outside of CALL_ONCE"),
        (_computed_at_first, "does more than assign constants"),
        (_never_begun, "is read before anything is assigned"),
        (_begun_otherwise, "initialised as int8"),
    ],
)
def test_refusals(change: Callable[[Variables, dict[str, TensorSpec]], list[ModelSpec]], message: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        read_tflite(_model(change), where="net.tflite")
    assert message in caught.value.what
    assert caught.value.where.startswith("net.tflite: ")


def test_a_handle_that_is_none() -> None:
    x, y = TensorSpec((), "resource"), TensorSpec((1, 4), scale=0.5)
    with pytest.raises(ModelError, match="is no variable's handle"):
        read_tflite(build_chain([ModelSpec(Code.READ_VARIABLE, [x], [y])]))


def test_damage() -> None:
    """Files cut or changed at any byte are read, or refused."""
    content = SMALL["ring"]()
    rng = np.random.default_rng(20)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(8, len(content), 3):
            damaged[place] = rng.integers(256)
        try:
            read_tflite(bytes(damaged))
        except TinygenError:
            refused += 1
    assert refused > 30


def test_variable_tensors_are_states_of_recurrent_layers_alone() -> None:
    """Nothing would keep those of others."""
    x, y = (TensorSpec((1, 4), "int8", 0.1) for _ in range(2))
    kept = TensorSpec((1, 4), "int8", 0.1, name="kept", variable=True)
    with pytest.raises(UnsupportedError, match="'kept' is a variable tensor") as error:
        read_tflite(build_chain([ModelSpec(Code.ADD, [x, kept], [y], version=2)]))
    assert "add_0" in error.value.where
