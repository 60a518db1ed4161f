"""States in the arena: written in place or copied at the end, never lost on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.arena import new_arena, run_in_arena, spoil_all_but_states
from tests.support.host_batch import run_on_host
from tests.support.streaming_models import ONLY_RUN, SMALL, WAKE_WORDS, frames, needs_wake_words, wake_word
from tinygen.emit.model import emit_model
from tinygen.errors import FitError, UnsupportedError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Program
from tinygen.lowering.states import Move
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify

ISA = ("c99", "dsp")


def small(name: str) -> Program:
    return lower(simplify(read_tflite((SMALL | ONLY_RUN)[name](), name=name)), isa=ISA)


def expected(graph: Graph, inputs: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    stream = Stream(graph)
    return [stream.step(sample) for sample in inputs]


def distance(program: Program, move: Move) -> int:
    """Bytes by which a state's codes move down."""
    return program.offsets[move.update] - program.offsets[move.state]


def assert_arena_holds(program: Program, count: int) -> None:
    """The plan is followed byte by byte; what is not kept is spoiled between invocations."""
    arena, stream = new_arena(program), Stream(program.graph)
    for sample in frames(program.graph, count):
        found = run_in_arena(program, sample, arena)
        for ours, theirs in zip(found, stream.step(sample), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        spoil_all_but_states(program, arena)


@pytest.mark.parametrize("name", SMALL)
def test_small_models_in_the_arena(name: str) -> None:
    assert_arena_holds(small(name), 20)


@needs_wake_words
@pytest.mark.parametrize("name", WAKE_WORDS)
def test_wake_words_in_the_arena(name: str) -> None:
    program = lower(simplify(load_model(wake_word(name))), isa=ISA)
    # Each ring moves up by what is new, and nothing else is copied.
    assert len(program.moves) == len(program.graph.states)
    assert all(0 < distance(program, move) <= 3 * 40 for move in program.moves)
    assert program.memory.arena_bytes == program.memory.lower_bound_bytes
    assert_arena_holds(program, 30)


def test_small_models_on_the_host(tmp_path: Path) -> None:
    """As C, under sanitizers."""
    programs = [small(name) for name in SMALL]
    inputs = [frames(program.graph, 40) for program in programs]
    found = run_on_host(programs, inputs, tmp_path, keep=True)
    for program, samples, outputs in zip(programs, inputs, found, strict=True):
        np.testing.assert_array_equal(outputs, expected(program.graph, samples), err_msg=program.graph.name)


def test_init_begins_anew(tmp_path: Path) -> None:
    """The same frame again and again, each time behind init."""
    program = small("accumulator")
    sample = frames(program.graph, 1)
    (found,) = run_on_host([program], [sample * 3], tmp_path)
    np.testing.assert_array_equal(found, expected(program.graph, sample) * 3)


@needs_wake_words
def test_wake_words_on_the_host(tmp_path: Path) -> None:
    graphs = [simplify(load_model(wake_word(name))) for name in WAKE_WORDS]
    programs = [lower(graph, isa=ISA) for graph in graphs]
    inputs = [frames(graph, 150) for graph in graphs]
    found = run_on_host(programs, inputs, tmp_path, keep=True)
    for graph, samples, outputs in zip(graphs, inputs, found, strict=True):
        np.testing.assert_array_equal(outputs, expected(graph, samples), err_msg=graph.name)


def test_what_is_written_in_place() -> None:
    """An accumulator; not what is still read when it is computed. Rows of a ring move up in it."""
    assert not small("accumulator").moves
    ring = small("ring")
    (move,) = ring.moves
    assert (distance(ring, move), move.size) == (8, 12)
    assert len(small("used_late").moves) == 1


def test_copies_come_in_an_order_in_which_none_spoils_another() -> None:
    program = small("delay_line")
    first, second = program.moves
    assert first.update == second.state and first.size == second.size == 4


def test_a_state_keeps_its_place_through_all_steps() -> None:
    program = small("used_late")
    (state,) = program.graph.states
    buffer = next(b for b in program.buffers if b.name == state.tensor)
    assert (buffer.first, buffer.last) == (0, len(program.steps))


@pytest.mark.parametrize(
    ("name", "message"),
    [("swapped", "take each other's places: "), ("gives_old", "is what 't1' was before the invocation")],
)
def test_refusals(name: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        small(name)


def test_not_in_stripes() -> None:
    graph = simplify(read_tflite(SMALL["ring"](), name="ring"))
    whole = lower(graph, isa=ISA)
    assert lower(graph, isa=ISA, streaming=Streaming()).memory == whole.memory
    with pytest.raises(FitError, match="stripes do not help"):
        lower(graph, isa=ISA, streaming=Streaming(whole.memory.arena_bytes - 8))


def test_how_the_c_reads() -> None:
    files = emit_model(small("delay_line"), "delay_line.tflite").files
    assert "void delay_line_reset(delay_line_t *model);" in files["delay_line.h"]
    text = files["delay_line.c"]
    assert text.count("memset(at(arena, ") == 2 and text.count("memmove(at(arena, ") == 2
    text = emit_model(small("accumulator"), "accumulator.tflite").files["accumulator.c"]
    assert "    3, 166, 7, 120," in text and "memcpy(at(arena, " in text
    graph = replace(read_tflite(SMALL["used_late"](), name="forgets"), states=())
    assert "reset" not in "".join(emit_model(lower(_without_state(graph)), "x").files.values())


def _without_state(graph: Graph) -> Graph:
    """What was kept is an input."""
    return replace(graph, inputs=(*graph.inputs, graph.ops[1].inputs[0]))
