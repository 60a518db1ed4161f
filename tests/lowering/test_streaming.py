"""Where stripes are used, and what they cost and save."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.lowering.test_order import networks
from tests.passes.test_stripes import image, stages
from tests.support.arena import run_in_arena
from tests.support.cases import draws
from tests.support.differential import compare_code
from tests.support.integer_layers import TERNARY, affine
from tests.support.litert import reference_outputs
from tests.support.models import KWS, RESNET, needs_models
from tests.support.networks import Network, mobilenet
from tests.support.orders import search_briefly
from tests.support.switchable import small_graph
from tinygen.errors import FitError
from tinygen.frontends.load import load_model
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Minimum
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.pool_2d import Pool2D
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Tensor
from tinygen.lowering import streaming
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Program
from tinygen.lowering.scratch_search import Prefer, cycles_of
from tinygen.lowering.select import Choice, choose
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify
from tinygen.passes.stages import Stage
from tinygen.passes.stripe_stage import Striped, model_layer, stripe_stage

ISA = ("c99", "dsp")
SMALLEST = Streaming()
Chooser = Callable[[Node, str, Collection[str]], Choice]


def exact(program: Program, inputs: list[np.ndarray]) -> bool:
    """Whether the program, run in an arena laid out as planned, gives what its graph means."""
    outputs = zip(evaluate(program.graph, inputs), run_in_arena(program, inputs), strict=True)
    return all(np.array_equal(want, got) for want, got in outputs)


def choose_in_place(node: Node, family: str, isa: Collection[str], room: int | None = None) -> Choice:
    """Kernels as if pools and depthwise convolutions could work in place, onto smaller outputs too."""
    choice = choose(node, family, isa, room)
    if isinstance(node.op, (Pool2D, DepthwiseConv2D)):
        return replace(choice, variants=tuple(replace(plan, inplace=((0, 0),)) for plan in choice.variants))
    return choice


@pytest.fixture
def any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    search_briefly(monkeypatch)


both_kernels = pytest.mark.parametrize("chooser", [choose, choose_in_place])


@both_kernels
@pytest.mark.usefixtures("any_order")
def test_plans_hold(chooser: Chooser) -> None:
    for draw in draws("plans", 40):
        assert_plans_hold(chooser, networks(draw).graph())


def assert_plans_hold(chooser: Chooser, graph: Graph) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs]
    with patch("tinygen.lowering.lower.choose", chooser):
        for isa in (("c99",), ISA):
            assert exact(lower(graph, isa=isa), inputs)


@both_kernels
@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.usefixtures("any_order")
def test_plans_of_stripes_hold(chooser: Chooser, count: int) -> None:
    for draw in draws(f"{count} plans of stripes", count):
        assert_plans_of_stripes_hold(chooser, stages(draw).graph(), draw.integer(0, 100))


def assert_plans_of_stripes_hold(chooser: Chooser, graph: Graph, percent: int) -> None:
    """For a limit between the smallest arena and the unstriped one: it is kept, and the outputs are right."""
    x = image(graph)
    want = evaluate(graph, [x])
    with patch("tinygen.lowering.lower.choose", chooser):
        whole, smallest = lower(graph, isa=ISA), lower(graph, isa=ISA, streaming=Streaming(recompute=10.0))
        low, high = smallest.memory.arena_bytes, whole.memory.arena_bytes
        assert low <= high
        limit = low + (high - low) * percent // 100
        limited = lower(graph, isa=ISA, streaming=Streaming(limit))
    assert limited.memory.arena_bytes <= limit
    for program in (smallest, limited):
        got = run_in_arena(program, [x])
        assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))


def check_smallest(program: Program, most: float) -> None:
    """The arena falls to a share of what it was, and no multiply-accumulate is added."""
    assert program.streamed is not None
    assert program.memory.arena_bytes <= most * program.streamed.arena_bytes_before
    assert program.streamed.recomputed_macs == 0
    assert sum(s.node.op.macs(s.node) for s in program.steps) == program.streamed.macs


def test_an_image_that_is_also_given_reshaped() -> None:
    """The outputs share the image's bytes: rows of the result do not take the place of rows that were read."""
    codes = Affine("int8", (0.5,), (0,))
    shapes = {"x": (1, 8, 6, 4), "flat": (1, 192), "y": (1, 8, 6, 4)}
    tensors = {name: Tensor(name, shape, codes) for name, shape in shapes.items()}
    tensors["most"] = Tensor("most", (1, 1, 1, 4), codes, np.array([[[[0, 9, -9, 50]]]], np.int8))
    reshape = Reshape(name="reshape", inputs=("x",), outputs=("flat",), shape=(1, 192))
    least = Minimum(name="minimum", inputs=("x", "most"), outputs=("y",))
    graph = Graph("g", tensors, (reshape, least), ("x",), ("flat", "y"))
    graph.validate()
    for way in (SMALLEST, Streaming(striped=True)):
        assert exact(lower(graph, streaming=way), [image(graph)])


@needs_models
@pytest.mark.parametrize(("model", "most"), [(RESNET, 0.65), (KWS, 0.98)])
def test_models(model: str, most: float) -> None:
    graph = simplify(load_model(model))
    program = lower(graph, isa=ISA, streaming=SMALLEST)
    check_smallest(program, most)
    assert exact(program, [image(graph)])


@pytest.mark.long
def test_rows_computed_again_within_the_limit() -> None:
    """MCUNetV2's way: allowed more work, the smallest arena may be smaller still; never beyond the limit."""
    graph = mobilenet(48).graph("small")
    arenas = []
    for recompute in (0.0, 0.1, 1.0):
        program = lower(graph, isa=ISA, streaming=Streaming(recompute=recompute))
        assert program.streamed is not None
        assert 0 <= program.streamed.recomputed_macs <= recompute * program.streamed.macs
        arenas.append(program.memory.arena_bytes)
    assert arenas[2] <= arenas[1] * 1.02 and arenas[1] <= arenas[0] * 1.02


def test_the_cheapest_way_that_fits() -> None:
    graph = mobilenet(48).graph("vww")
    smallest = lower(graph, isa=ISA, streaming=SMALLEST)
    check_smallest(smallest, 0.68)
    assert exact(smallest, [image(graph)])
    assert lower(graph, isa=ISA, streaming=Streaming(1 << 20)).streamed is None
    assert smallest.streamed is not None
    limit = (smallest.streamed.arena_bytes_before + smallest.memory.arena_bytes) // 2
    program = lower(graph, isa=ISA, streaming=Streaming(limit))
    assert program.memory.arena_bytes <= limit
    assert program.streamed is not None
    assert program.streamed.stripes < smallest.streamed.stripes


@pytest.mark.long
def test_what_does_not_fit() -> None:
    graph = mobilenet().graph("vww")
    with pytest.raises(FitError) as caught:
        lower(graph, isa=ISA, streaming=Streaming(20_000))
    program = lower(graph, isa=ISA, streaming=SMALLEST)
    # Of 96 x 96 x 3 the image itself is 27,648 bytes, and the arena not much more.
    check_smallest(program, 0.65)
    assert exact(program, [image(graph)])
    smallest = program.memory.arena_bytes
    best = int(caught.value.what.split(" at best")[0].split()[-1].replace(",", ""))
    assert 20_000 < best <= smallest
    assert "20,000" in caught.value.what and "in stripes" in caught.value.what
    assert "vww" in str(caught.value) and caught.value.fix


def test_long_networks_do_not_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many ways as work allows are tried, the coarse ones first; kernels are chosen once for stripes of a shape."""
    tried: list[int] = []
    asked: list[Node] = []

    def counted(graph: Graph, stage: Stage, height: int, *, keep: bool) -> Striped | None:
        striped = stripe_stage(graph, stage, height, keep=keep)
        tried.append(len(striped.graph.ops) if striped else len(graph.ops))
        return striped

    def counting(node: Node, family: str, isa: Collection[str], room: int | None = None) -> Choice:
        asked.append(node)
        return choose(node, family, isa, room)

    allowed = 4_000
    monkeypatch.setattr(streaming, "_WORK", allowed)
    monkeypatch.setattr(streaming, "stripe_stage", counted)
    monkeypatch.setattr("tinygen.lowering.lower.choose", counting)
    net = Network(1)
    x = net.input(32, 32, 3)
    for index in range(60):
        x = net.conv(x, 8, 3, 2 if index == 3 else 1)
    graph = net.graph()
    program = lower(graph, isa=ISA, streaming=SMALLEST)
    assert len(tried) > 10 and allowed <= sum(tried) < allowed + 2 * max(tried)
    assert 0 < sum(bool(model_layer(node.op.name)) for node in asked) < sum(tried) / 4
    assert program.streamed is not None
    assert program.memory.arena_bytes < 0.8 * program.streamed.arena_bytes_before
    assert exact(program, [image(graph)])


def test_weights_as_instructions_where_nothing_is_in_stripes() -> None:
    """They need no scratch: a limit that they hold refuses nothing and slows nothing down, and they may be smallest."""
    isa = (*ISA, "dual-issue")
    graph = small_graph("net", TERNARY, affine(-128))
    plain, smallest = lower(graph, isa=isa, prefer=Prefer.SPEED), lower(graph, isa=isa, streaming=SMALLEST)
    assert any(step.plan.code_bytes for step in plain.steps)
    assert smallest.memory.arena_bytes <= plain.memory.arena_bytes
    for room in (0, 10_000):
        limited = lower(graph, isa=isa, streaming=Streaming(plain.memory.arena_bytes + room))
        assert any(step.plan.code_bytes for step in limited.steps)
        assert cycles_of(limited) <= cycles_of(plain)


def test_where_stripes_do_not_help() -> None:
    """A dense network has no rows: asked for the smallest arena it stays, asked for less it says so."""
    net = Network(1)
    net.conv(net.reshape(net.input(4, 4, 8), (1, 1, 1, 128)), 64)
    graph = net.graph()
    program = lower(graph, streaming=SMALLEST)
    assert program.streamed is None
    with pytest.raises(FitError, match="stripes do not help"):
        lower(graph, streaming=Streaming(program.memory.arena_bytes - 8))


@pytest.mark.long
@needs_models
def test_code_of_models() -> None:
    """C under sanitizers and in the emulated core, with the result laid over the image it is computed from."""
    graphs = [simplify(load_model(RESNET, "resnet")), mobilenet(48).graph("wake")]
    models = [RESNET.read_bytes(), mobilenet(48).model()]
    samples = [[[image(graph, seed)] for seed in range(2)] for graph in graphs]
    expected = [reference_outputs(model, feed) for model, feed in zip(models, samples, strict=True)]
    labels = ["resnet in stripes", "mobilenet in stripes"]
    compare_code(graphs, samples, expected, labels, on_board=True, streaming=SMALLEST)
