"""Frames that are kept in front of new ones: nothing is copied that need not be, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.passes.test_to_streaming import stride_of
from tests.support.arena import new_arena, run_in_arena, spoil_all_but_states
from tests.support.cases import draws
from tests.support.integer_layers import random_codes
from tests.support.streaming_models import WAKE_WORDS, needs_wake_words, wake_word
from tests.support.windows import WindowNetwork, random_window_network
from tinygen.frontends.load import load_model
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.passes.ring_buffers import ring_buffers
from tinygen.passes.to_streaming import to_streaming

ISA = ("c99", "dsp")


def assert_same(graph: Graph, seed: int = 0, steps: int = 8) -> Graph:
    """The graph with ring buffers, which gives the same codes in an arena as planned; all but states is spoiled."""
    ring = ring_buffers(graph)
    ring.validate()
    program, stream = lower(ring, isa=ISA), Stream(graph)
    arena, rng = new_arena(program), np.random.default_rng(seed)
    for _ in range(steps):
        tensors = [graph.tensors[name] for name in graph.inputs]
        sample = [random_codes(t.encoding, t.shape, rng) for t in tensors]
        for ours, theirs in zip(run_in_arena(program, sample, arena), stream.step(sample), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        spoil_all_but_states(program, arena)
    return ring


def kinds(graph: Graph) -> list[str]:
    return [op.KIND for op in graph.ops]


@pytest.mark.parametrize("lowbit", [False, True], ids=["int8", "lowbit"])
def test_random_networks(lowbit: bool) -> None:
    for draw in draws(f"rings {lowbit}", 10):
        seed, times = draw.integer(0, 2**32 - 1), draw.integer(1, 3)
        graph = random_window_network(seed, lowbit=lowbit)
        hop = stride_of(graph)
        hop = hop * times if hop * times <= graph.tensors["input"].shape[1] else hop
        assert_same(to_streaming(graph, hop=hop).first, seed)


@needs_wake_words
@pytest.mark.parametrize("name", WAKE_WORDS)
def test_wake_words(name: str) -> None:
    """No frame is copied but by the move at the end of a step, and the arena is smaller for it."""
    graph = simplify(load_model(wake_word(name)))
    assert kinds(graph).count("join_rows") == len(graph.states) == len(lower(graph, isa=ISA).moves) == 6
    assert not any(isinstance(op, StridedSlice) for op in graph.ops)
    assert not any(isinstance(op, Concatenation) and op.axis == 1 for op in graph.ops)


def stream(rank: int = 4) -> Graph:
    """A depthwise layer over three frames, one of which is new; of rank 3, a sum with itself."""
    net = WindowNetwork(np.random.default_rng(3), (1, 3, 1, 5)[: 3 if rank == 3 else 4])
    if rank == 3:
        net.dense(2)
    else:
        net.depthwise((3, 1))
    return to_streaming(net.graph(), hop=1).first


@pytest.mark.parametrize("rank", [3, 4])
def test_frames_of_any_rank(rank: int) -> None:
    ring = assert_same(stream(rank))
    assert "join_rows" in kinds(ring) and "concatenation" not in kinds(ring)


def test_new_frames_under_another_shape() -> None:
    """What is written in front of a reshape is written behind the kept frames as well."""
    net = WindowNetwork(np.random.default_rng(4), (1, 6, 4))
    net.add(Reshape, [net.x], net.encoding, shape=(1, 6, 1, 4))
    net.depthwise((4, 1))
    net.dense(2)
    ring = assert_same(to_streaming(net.graph(), hop=1).first)
    assert kinds(ring).count("join_rows") == 2
    program = lower(ring, isa=ISA)
    joined = next(op for op in ring.ops if op.KIND == "join_rows")
    assert program.offsets["input"] == program.offsets[joined.inputs[1]]


def test_only_stretches_of_what_stays() -> None:
    """Most of a tensor, or any part of what is kept anyway; a small stretch of another is copied: the rest can go."""
    net = WindowNetwork(np.random.default_rng(5), (1, 12, 1, 4))
    net.last_frames(5)
    assert ring_buffers(net.graph()).ops == net.graph().ops
    graph = stream()
    _, _, joined = joined_of(graph)

    def cut(source: str, name: str, count: int) -> StridedSlice:
        return StridedSlice(
            name=name,
            inputs=(source,),
            outputs=(name,),
            begin=(0, 0, 0, 0),
            step=(1,) * 4,
            count=(1, count, 1, 5),
            axes=(0, 1, 2, 3),
        )

    total = Add(name="total", inputs=(joined, joined), outputs=("sums",))
    cuts = [cut("sums", "most", 2), cut("sums", "few", 1), cut(joined, "oldest", 1)]
    last = Add(name="last", inputs=("few", "oldest"), outputs=("y2",))
    end = Add(name="end", inputs=("most", "y2"), outputs=("y3",))
    shapes = {"sums": 3, "most": 2, "few": 1, "oldest": 1, "y2": 1, "y3": 2}
    tensors = {name: like(graph, joined, name, frames) for name, frames in shapes.items()}
    ring = assert_same(changed(graph, total, *cuts, last, end, outputs=("y3",), **tensors))
    assert [op.name for op in ring.ops if op.KIND == "strided_slice"] == ["few"]


def changed(
    graph: Graph, *ops: Op, outputs: tuple[str, ...] = (), states: tuple[State, ...] = (), **shapes: Tensor
) -> Graph:
    """With more operators at the end."""
    tensors = {**graph.tensors, **shapes}
    more = replace(
        graph,
        ops=(*graph.ops, *ops),
        tensors=tensors,
        outputs=(*graph.outputs, *outputs),
        states=(*graph.states, *states),
    )
    more.validate()
    return more


def like(graph: Graph, name: str, new: str, frames: int | None = None) -> Tensor:
    tensor = graph.tensors[name]
    shape = tensor.shape if frames is None else (1, frames, *tensor.shape[2:])
    return Tensor(new, shape, tensor.encoding)


def joined_of(graph: Graph) -> tuple[str, str, str]:
    """(state, new frames, both joined)"""
    op = next(op for op in graph.ops if isinstance(op, Concatenation))
    return op.inputs[0], op.inputs[1], op.outputs[0]


def test_outputs_stay_where_they_are() -> None:
    """The joined frames, or the kept ones, are an output: moving them up would spoil it."""
    graph = stream()
    state, _, joined = joined_of(graph)
    ring = assert_same(changed(graph, outputs=(joined,)))
    assert "join_rows" not in kinds(ring)
    copy = StridedSlice(
        name="copy",
        inputs=(joined,),
        outputs=("old",),
        begin=(0, 0, 0, 0),
        step=(1,) * 4,
        count=(1, 2, 1, 5),
        axes=(0, 1, 2, 3),
    )
    ring = assert_same(changed(graph, copy, outputs=("old",), old=like(graph, joined, "old", 2)))
    assert "join_rows" not in kinds(ring)
    ring = assert_same(
        changed(
            graph,
            Add(name="twice", inputs=(state, state), outputs=("y2",)),
            outputs=("y2",),
            y2=like(graph, state, "y2"),
        )
    )
    assert "join_rows" in kinds(ring)


def test_frames_in_two_places() -> None:
    """Only one of two joined tensors can hold a state, or new frames."""
    graph = stream()
    state, new, _ = joined_of(graph)
    again = Concatenation(name="again", inputs=(state, new), outputs=("both",), axis=1)
    total = Add(name="total", inputs=("both", "both"), outputs=("y2",))
    ring = assert_same(
        changed(
            graph, again, total, outputs=("y2",), both=like(graph, state, "both", 3), y2=like(graph, state, "y2", 3)
        )
    )
    assert kinds(ring).count("join_rows") == 1 == kinds(ring).count("concatenation")


def test_a_frame_goes_on_to_another_state() -> None:
    """What falls out of one state is new to the next: it is cut before the frames move up."""
    graph = stream()
    _, new, joined = joined_of(graph)
    oldest = StridedSlice(
        name="oldest",
        inputs=(joined,),
        outputs=("fallen",),
        begin=(0, 0, 0, 0),
        step=(1,) * 4,
        count=(1, 1, 1, 5),
        axes=(0, 1, 2, 3),
    )
    total = Add(name="total", inputs=("late", new), outputs=("y2",))
    late = like(graph, new, "late")
    more = changed(
        graph,
        oldest,
        total,
        outputs=("y2",),
        states=(State("late", "fallen", np.zeros(late.shape, late.dtype)),),
        late=late,
        fallen=like(graph, new, "fallen"),
        y2=like(graph, new, "y2"),
    )
    assert "join_rows" in kinds(assert_same(more))


def test_a_state_that_becomes_something_else() -> None:
    """Joined with new frames, but replaced by others."""
    graph = stream()
    state, _, _ = joined_of(graph)
    cut = graph.states[0].update
    total = Add(name="total", inputs=(cut, cut), outputs=("other",))
    more = changed(graph, total, other=like(graph, state, "other"))
    more = replace(more, states=(replace(graph.states[0], update="other"),))
    assert "join_rows" not in kinds(assert_same(more))


def test_frames_along_columns_of_several_rows() -> None:
    """Each row is joined by itself: the frames do not lie together."""
    encoding = Affine("int8", (0.5,), (3,))
    shapes = {"x": (1, 2, 1, 4), "kept": (1, 2, 2, 4), "joined": (1, 2, 3, 4), "cut": (1, 2, 2, 4), "y": (1, 2, 3, 4)}
    tensors = {name: Tensor(name, shape, encoding) for name, shape in shapes.items()}
    ops = (
        Concatenation(name="join", inputs=("kept", "x"), outputs=("joined",), axis=2),
        StridedSlice(
            name="newest",
            inputs=("joined",),
            outputs=("cut",),
            begin=(0, 0, 1, 0),
            step=(1,) * 4,
            count=shapes["cut"],
            axes=(0, 1, 2, 3),
        ),
        Add(name="twice", inputs=("joined", "joined"), outputs=("y",)),
    )
    states = (State("kept", "cut", np.zeros(shapes["kept"], np.int8)),)
    graph = Graph(name="columns", tensors=tensors, ops=ops, inputs=("x",), outputs=("y",), states=states)
    graph.validate()
    assert "join_rows" not in kinds(assert_same(graph))
