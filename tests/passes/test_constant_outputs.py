"""Constant outputs get an operator that writes them; and which channels operators tell apart."""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.reduce import ReduceMax
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Tensor
from tinygen.passes.constant_outputs import constant_outputs
from tinygen.passes.dependence import dependent_channels

ENCODING, SHAPE = Affine("int8", (0.5,), (0,)), (1, 2)


def test_an_operator_writes_each_and_readers_keep_the_constant() -> None:
    """One that an operator reads beside the input; another tensor has the name that the constant would get."""
    data = {"c": np.array([[1, 2]], np.int8), "c#constant": np.array([[3, 4]], np.int8)}
    tensors = {name: Tensor(name, SHAPE, ENCODING, data.get(name)) for name in ("x", "c", "c#constant", "y")}
    op = Add(name="add", inputs=("x", "c"), outputs=("y",))
    graph = Graph("m", tensors, (op,), ("x",), ("y", "c", "c#constant"))
    found = constant_outputs(graph)
    found.validate()
    assert [type(one) for one in found.ops] == [Add, Reshape, Reshape] and found.outputs == graph.outputs
    assert not any(found.tensors[name].is_constant for name in found.outputs)
    x = np.array([[10, 20]], np.int8)
    assert [out.tolist() for out in evaluate(found, [x])] == [[[11, 22]], [[1, 2]], [[3, 4]]]


def test_a_maximum_over_channels_reads_them_all() -> None:
    """Of two channels one is constant; the maximum of both of them depends on the input in every column."""
    shape = (1, 2, 1)
    tensors = {
        "x": Tensor("x", shape, ENCODING),
        "c": Tensor("c", shape, ENCODING, np.ones(shape, np.int8)),
        "both": Tensor("both", (1, 2, 2), ENCODING),
        "y": Tensor("y", (1, 2), ENCODING),
    }
    ops = (
        Concatenation(name="join", inputs=("x", "c"), outputs=("both",), axis=2),
        ReduceMax(name="most", inputs=("both",), outputs=("y",), axes=(2,), keep_dims=False),
    )
    graph = Graph("m", tensors, ops, ("x",), ("y",))
    graph.validate()
    found = dependent_channels(graph)
    assert found["both"].tolist() == [True, False] and found["y"].tolist() == [True, True]
