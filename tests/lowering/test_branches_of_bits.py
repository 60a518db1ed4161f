"""Branches that take and give codes of few bits, which lie packed beside them; and stripes in front of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.support import integer_layers as layers
from tests.support.branches import gated
from tests.support.chains import Chain
from tests.support.host_batch import run_on_host
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Encoding, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify

ISA = ("c99", "dsp")
SIZE, CHANNELS = 6, 8


def body(encoding: Encoding, name: str, seeds: tuple[int, ...]) -> Graph:
    """So many layers."""
    chain = Chain(name, (SIZE, SIZE, CHANNELS), encoding)
    for seed in seeds:
        shape = (SIZE, SIZE, CHANNELS)
        chain.put(
            layers.conv(
                f"c{seed}", shape, CHANNELS, (3, 3), x=encoding, w=layers.levels(4, True), y=encoding, seed=seed
            )
        )
    return chain.graph()


def network(encoding: Encoding, name: str) -> Graph:
    """Two layers, a choice among two layers, one and none, two layers."""
    before, after = body(encoding, "before", (1, 2)), body(encoding, "after", (3, 4))
    op = Branch(
        name="choice",
        inputs=("index", before.outputs[0]),
        outputs=("chosen",),
        branches=(body(encoding, "a", (5, 6)), body(encoding, "b", (7,)), body(encoding, "c", ())),
    )
    tensors = {**before.tensors, "index": Tensor("index", (), Plain("int8"))}
    names = {n: "chosen" if n == after.inputs[0] else f"z_{n}" for n in after.tensors}
    tensors |= {names[n]: replace(t, name=names[n]) for n, t in after.tensors.items()}
    ops = tuple(
        replace(
            o,
            name=f"z_{o.name}",
            inputs=tuple(names.get(n, "") for n in o.inputs),
            outputs=tuple(names[n] for n in o.outputs),
        )
        for o in after.ops
    )
    graph = Graph(name, tensors, (*before.ops, op, *ops), ("index", *before.inputs), (names[after.outputs[0]],))
    graph.validate()
    return graph


ENCODINGS = {"bits": layers.BINARY, "four": layers.levels(4)}


def test_codes_of_few_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    graphs = [network(encoding, name) for name, encoding in ENCODINGS.items()]
    programs, feeds = [], []
    for graph in graphs:
        image = graph.tensors[graph.inputs[1]]
        rows = [[np.int8(i), layers.random_codes(image.encoding, image.shape, rng)] for i in (-1, 0, 1, 2)]
        for how in (None, Streaming()):
            program = lower(simplify(graph), isa=ISA, streaming=how)
            name = f"{graph.name}_{'stripes' if how else 'whole'}"
            programs.append(replace(program, graph=replace(program.graph, name=name)))
            feeds.append((graph, rows))
    found = run_on_host(programs, [rows for _, rows in feeds], tmp_path)
    for outputs, (graph, rows) in zip(found, feeds, strict=True):
        for row, (got,) in zip(rows, outputs, strict=True):
            np.testing.assert_array_equal(got, evaluate(graph, row)[0])


def test_a_stage_in_stripes_ends_before_the_choice(tmp_path: Path) -> None:
    graph = gated(size=16)
    program = lower(simplify(graph), isa=ISA, streaming=Streaming())
    rng = np.random.default_rng(1)
    rows = [[rng.integers(low, low + 90, (1, 16, 16, 4)).astype(np.int8)] for low in (-128, -90, -30, 30)]
    (found,) = run_on_host([program], [rows], tmp_path)
    for row, (got,) in zip(rows, found, strict=True):
        np.testing.assert_array_equal(got, evaluate(graph, row)[0])
