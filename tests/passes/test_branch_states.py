"""States in branches: kept by the branch that runs, however long ago."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.branches import handing_on, layers, ports
from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.ir.state import State
from tinygen.passes.branch_states import states_outside
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import verify

SHAPE = (1, 3, 2, 4)
BEGIN = np.full(SHAPE, 5, np.int8)
CONV = layers("conv", "int8", SHAPE, "int8", 1)


def delay() -> Graph:
    """Gives what it was given when it ran last."""
    outer = ports("int8", SHAPE, "int8")
    tensors = {**outer, "last": replace(outer["x"], name="last")}
    return Graph("delay", tensors, (), tuple(outer), ("last",), (State("last", "x", BEGIN),))


def filtering() -> Graph:
    """A convolution of what it gave when it ran last."""
    tensors = {**CONV.tensors, "last": replace(CONV.tensors["x"], name="last")}
    ops = tuple(replace(op, inputs=tuple("last" if n == "x" else n for n in op.inputs)) for op in CONV.ops)
    return replace(CONV, tensors=tensors, ops=ops, states=(State("last", CONV.outputs[0], BEGIN),))


def chosen(bodies: tuple[Graph, ...], index: str, name: str) -> Graph:
    outer = ports("int8", SHAPE, "int8")
    tensors = {**outer, "index": replace(outer["inner"], name="index"), "y": replace(outer["x"], name="y")}
    op = Branch(name=name, inputs=(index, "x", "side", "inner"), outputs=("y",), branches=bodies)
    return Graph("kept", tensors, (op,), (*(["index"] if index == "index" else []), *outer), ("y",))


def network() -> Graph:
    """Delays in two branches, one of them within another, beside a filter and a copy."""
    within = chosen((delay(), handing_on("side", "int8", SHAPE, "int8"), filtering()), "inner", "within")
    within = replace(within, tensors={n: t for n, t in within.tensors.items() if n != "index"})
    return chosen((delay(), within, handing_on("x", "int8", SHAPE, "int8")), "index", "choice")


def test_what_branches_keep(tmp_path: Path) -> None:
    """Semantics as a program written down by hand; the C as the semantics."""
    with pytest.raises(UnsupportedError, match="keeps states"):
        network().validate()
    graph = states_outside(network())
    graph.validate()
    rng = np.random.default_rng(1)
    stream, kept, rows = Stream(graph), {"delay": BEGIN, "within": BEGIN, "filter": BEGIN}, []
    for _ in range(80):
        index, inner = (rng.integers(0, 3, 1).astype(np.int8) for _ in range(2))
        x, side = (rng.integers(-128, 128, SHAPE).astype(np.int8) for _ in range(2))
        rows.append((index, x, side, inner))
        kind = ["delay", ["within", "side", "filter"][inner[0]], "x"][index[0]]
        wanted = {"x": x, "side": side, **kept}[kind]
        if kind == "filter":
            wanted = evaluate(CONV, [kept["filter"], side, inner])[0]
        if kind in kept:
            kept[kind] = wanted if kind == "filter" else x
        np.testing.assert_array_equal(stream.step([index, x, side, inner])[0], wanted)
    names = ("index", "x", "side", "inner")
    assert graph.inputs == names
    arrays = (
        np.stack([row if name in ("index", "inner") else row[0] for row in column])
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    )
    np.savez(tmp_path / "x.npz", **{f"x{place}": array for place, array in enumerate(arrays)})
    assert verify(MemoryModel(graph, "kept"), tmp_path / "x.npz", BuildOptions(board="host")).identical


def test_thresholds_belong_to_the_whole_graph() -> None:
    state = State("last", "x", BEGIN, threshold="EXIT")
    with pytest.raises(ModelError, match="has the threshold EXIT"):
        states_outside(chosen((replace(delay(), states=(state,)),), "inner", "choice"))
