"""What a graph says of itself, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import Affine, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor
from tinygen.ir.thresholds import new_threshold, thresholds_of

INT8 = Affine("int8", (0.5,), (0,))
TENSORS = {name: Tensor(name, (1, 2), INT8) for name in ("x", "kept", "sum", "y")}
GRAPH = Graph(
    "m",
    TENSORS,
    (
        Add(name="one", inputs=("x", "kept"), outputs=("sum",)),
        Add(name="two", inputs=("x", "sum"), outputs=("y",)),
    ),
    ("x",),
    ("y",),
    (State("kept", "sum", np.zeros((1, 2), np.int8)),),
)


def test_states_are_read_and_updated() -> None:
    GRAPH.validate()
    assert (GRAPH.sources, GRAPH.sinks, GRAPH.is_stream) == (("x", "kept"), ("y", "sum"), True)


@pytest.mark.parametrize("outputs", ["sum", "x"])
def test_two_cannot_write_one_tensor(outputs: str) -> None:
    ops = (GRAPH.ops[0], replace(GRAPH.ops[1], inputs=("kept", "kept"), outputs=(outputs,)))
    with pytest.raises(ModelError, match=f"'{outputs}' is an input, a constant or another operator's output, too"):
        replace(GRAPH, ops=ops, outputs=("sum",)).validate()


@pytest.mark.parametrize("encoding", [Affine("int8", (0.25,), (0,)), Affine("int8", (0.5,), (1,))])
def test_codes_of_unlike_meaning_are_not_joined(encoding: Affine) -> None:
    tensors = {"x": TENSORS["x"], "other": Tensor("other", (1, 2), encoding), "y": Tensor("y", (1, 4), INT8)}
    op = Concatenation(name="join", inputs=("x", "other"), outputs=("y",), axis=1)
    with pytest.raises((ModelError, UnsupportedError), match="input 1 has another scale or zero point"):
        Graph("m", tensors, (op,), ("x", "other"), ("y",)).validate()


def test_thresholds_have_codes_of_32_bits() -> None:
    tensor, state = new_threshold("LIMIT", Plain("int64"), 5)
    graph = replace(GRAPH, tensors={**TENSORS, tensor.name: tensor}, states=(*GRAPH.states, state))
    (found,) = thresholds_of(graph)
    assert (found.value, found.low, found.high) == (5, -(2**31), 2**31 - 1)
