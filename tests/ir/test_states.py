"""States of a graph: what is refused, and what survives saving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.streaming_models import SMALL, frames
from tinygen.errors import ModelError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tflite import read_tflite
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.ir.state import State

GRAPH = read_tflite(SMALL["ring"]())
(STATE,) = GRAPH.states
ROWS = STATE.initial.shape


def _other_tensor(**changes: object) -> Graph:
    tensor = replace(GRAPH.tensors[STATE.tensor], **changes)  # type: ignore[arg-type]
    return replace(GRAPH, tensors={**GRAPH.tensors, STATE.tensor: tensor})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (replace(GRAPH, states=()), "is used before anything writes it"),
        (replace(GRAPH, states=(STATE, STATE)), "is an input, a constant or written by an operator, too"),
        (replace(GRAPH, states=(replace(STATE, tensor=STATE.update),)), "is used before anything writes it"),
        (replace(GRAPH, states=(STATE, replace(STATE, tensor=STATE.update))), "written by an operator, too"),
        (replace(GRAPH, states=(STATE, replace(STATE, tensor=GRAPH.inputs[0]))), "is an input"),
        (replace(GRAPH, states=(replace(STATE, update=GRAPH.ops[0].outputs[0]),)), r"becomes int8 \[1,5,1,4\]"),
        (replace(GRAPH, states=(replace(STATE, initial=STATE.initial[0]),)), r"begins as int8 \[3,1,4\]"),
        (replace(GRAPH, states=(replace(STATE, initial=STATE.initial.astype(np.int16)),)), "begins as int16"),
        (_other_tensor(data=STATE.initial), "is an input, a constant"),
    ],
)
def test_what_cannot_be_a_state(graph: Graph, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        graph.validate()


def test_an_update_of_another_scale() -> None:
    """The codes would stand for other values from one invocation to the next."""
    slicing = GRAPH.ops[1]
    update = replace(GRAPH.tensors[STATE.update], encoding=Affine("int8", (0.25,), (3,)))
    graph = replace(GRAPH, tensors={**GRAPH.tensors, STATE.update: update})
    assert slicing.outputs == (STATE.update,)
    with pytest.raises(ModelError, match="and becomes int8"):
        graph.validate()


def test_an_update_that_is_a_constant() -> None:
    codes = replace(GRAPH.tensors[STATE.update], name="codes", data=STATE.initial)
    graph = replace(GRAPH, tensors={**GRAPH.tensors, "codes": codes}, states=(replace(STATE, update="codes"),))
    with pytest.raises(ModelError, match="becomes 'codes', which nothing computes"):
        graph.validate()


def test_saved_and_read_again() -> None:
    content = write_tg(GRAPH)
    again = read_tg(content)
    assert [(s.tensor, s.update) for s in again.states] == [(STATE.tensor, STATE.update)]
    np.testing.assert_array_equal(again.states[0].initial, STATE.initial)
    assert write_tg(again) == content
    ours, theirs = Stream(GRAPH), Stream(again)
    for sample in frames(GRAPH, 10):
        np.testing.assert_array_equal(ours.step(sample)[0], theirs.step(sample)[0])


def test_build_ids_differ_by_what_states_begin_with() -> None:
    other = replace(GRAPH, states=(State(STATE.tensor, STATE.update, np.zeros(ROWS, np.int8)),))
    assert MemoryModel(GRAPH, "net").read_bytes() != MemoryModel(other, "net").read_bytes()
