"""Scratch beyond the least: only what the arena's limit leaves."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.arena import run_in_arena
from tests.support.networks import Network
from tests.support.orders import search_briefly
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.lowering.lower import layer_of, lower
from tinygen.lowering.program import Program, Step
from tinygen.lowering.streaming import Streaming
from tinygen.passes.stages import find_stages
from tinygen.passes.stripe_stage import model_layer, stripe_name

ISA = ("c99", "dsp")


def residual() -> Graph:
    net = Network(3)
    x = net.conv(net.input(16, 12, 3), 8, 3)
    net.conv(net.add(net.conv(net.conv(x, 8, 3), 8, 3, relu=False), x), 4, 3, 2)
    return net.graph()


def cycles(program: Program) -> float:
    return sum(step.plan.cycles for step in program.steps)


def scratch(program: Program) -> int:
    return sum(step.plan.scratch_bytes for step in program.steps)


@pytest.fixture
def any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    search_briefly(monkeypatch)


def test_a_limit_is_kept_and_used() -> None:
    """A byte less than the default takes scratch away, or stripes; more room is never slower."""
    graph = residual()
    default = lower(graph, isa=ISA)
    tight = lower(graph, isa=ISA, streaming=Streaming(default.memory.arena_bytes - 1))
    wide = lower(graph, isa=ISA, streaming=Streaming(4 * default.memory.arena_bytes))
    assert wide.streamed is None
    assert tight.memory.arena_bytes < default.memory.arena_bytes < wide.memory.arena_bytes
    assert cycles(wide) < min(cycles(default), cycles(tight))


@pytest.mark.usefixtures("any_order")
def test_the_smallest_arena_takes_what_is_free() -> None:
    """In the smallest arena some layer has more than its least scratch, and the arena is at its bound."""
    graph = residual()
    smallest = lower(graph, isa=ISA, streaming=Streaming())
    assert smallest.streamed is not None
    assert smallest.memory.arena_bytes < smallest.streamed.arena_bytes_before
    least = sum(step.kernel.variants(step.node)[0].scratch_bytes for step in smallest.steps)
    assert scratch(smallest) > least
    with pytest.raises(Exception, match="does not fit"):
        lower(graph, isa=ISA, streaming=Streaming(smallest.memory.arena_bytes // 2))


@pytest.mark.usefixtures("any_order")
def test_convolution_and_addition_in_stripes() -> None:
    """The joined operator is cut into rows like any other: its other operand is read at the rows it writes."""
    program = lower(residual(), isa=ISA)
    graph = program.graph
    joined = next(op for op in graph.ops if isinstance(op, Conv2DAdd))
    cut = joined.stripe(graph.node(joined), 3, 7)
    assert cut is not None
    assert cut.inputs == ((2, 8), None, None, (3, 7))
    assert find_stages(graph)[-1].end == len(graph.ops)
    striped = lower(residual(), isa=ISA, streaming=Streaming())
    assert sum(isinstance(step.node.op, Conv2DAdd) for step in striped.steps) > 1
    x = np.random.default_rng(0).integers(-128, 128, (1, 16, 12, 3)).astype(np.int8)
    assert np.array_equal(run_in_arena(striped, [x])[0], evaluate(graph, [x])[0])


def test_names_of_stripes() -> None:
    assert model_layer(stripe_name("conv_2d_0", 12)) == "conv_2d_0"
    assert model_layer("conv_2d_0") == model_layer("conv_stripe_x") == ""


@pytest.mark.usefixtures("any_order")
def test_scratch_does_not_depend_on_other_layers() -> None:
    """Up to given bytes, each layer has the same scratch whichever kernel another layer has."""
    graph = residual()
    free = lower(graph, isa=ISA, streaming=Streaming())
    aim = Streaming(striped=True, scratch_bytes=free.memory.arena_bytes)
    usual = lower(graph, isa=ISA, streaming=aim)
    names = {_layer(step): step.kernel.name for step in usual.steps}
    other = lower(graph, isa=ISA, streaming=aim, kernels={**names, "conv_2d_0": "conv_2d_s8"})
    assert any(scratch for _, scratch in _scratch_but_of("conv_2d_0", usual))
    assert _scratch_but_of("conv_2d_0", other) == _scratch_but_of("conv_2d_0", usual)


def _layer(step: Step) -> str:
    return layer_of(step.node.op.name)


def _scratch_but_of(layer: str, program: Program) -> list[tuple[str, int]]:
    return [(step.node.op.name, step.plan.scratch_bytes) for step in program.steps if _layer(step) != layer]
