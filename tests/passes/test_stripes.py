"""Stages in stripes mean the same, whatever the height, whether shared rows are kept or computed again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.support.arena import run_in_arena
from tests.support.cases import Draw, draws
from tests.support.differential import compare_code
from tests.support.litert import reference_outputs
from tests.support.networks import Network
from tests.support.orders import search_briefly
from tests.support.tflite_builder import TensorSpec
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.rows import CopyRows, JoinRows, RowWindow
from tinygen.lowering.lower import lower
from tinygen.lowering.streaming import Streaming
from tinygen.passes.stages import Stage, find_stages, stripe_rows
from tinygen.passes.stripe_stage import stripe_stage


def image(graph: Graph, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)


def striped_graph(graph: Graph, stage: Stage, height: int, keep: bool) -> Graph:
    striped = stripe_stage(graph, stage, height, keep=keep)
    assert striped is not None
    return striped.graph


def stages(draw: Draw) -> Network:
    """Windows of all sizes, strides, dilations and paddings; skip connections; layers of one element."""
    net = Network(draw.integer(0, 1000))
    x = net.input(draw.integer(7, 16), draw.integer(5, 9), draw.integer(1, 5))
    for _ in range(draw.integer(1, 5)):
        x = draw.choice(LAYERS)(draw, net, x)
    return net


def only_padding(graph: Graph, stage: Stage, height: int) -> bool:
    """Whether the stage ends in padding and a stripe lies in it altogether: that one cannot be cut out."""
    op = graph.ops[stage.end - 1]
    if not isinstance(op, Pad):
        return False
    above, below = op.paddings[1]
    rows = graph.node(op).output.shape[1]
    last = rows - (rows - 1) // height * height
    return height < rows and (above >= height or below >= last)


def fits(x: TensorSpec, reach: int) -> bool:
    return min(x.shape[1], x.shape[2]) >= reach


def conv(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    kernel, dilation = draw.choice([(1, 1), (2, 1), (3, 1), (5, 1), (3, 2)])
    same = draw.yes() or not fits(x, (kernel - 1) * dilation + 1)
    stride = draw.integer(1, 3) if dilation == 1 else 1
    return net.conv(x, draw.integer(1, 6), kernel, stride, same=same, relu=draw.yes(), dilation=dilation)


def depthwise(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    return net.depthwise(x, draw.choice([3, 5]), draw.integer(1, 2))


def pool(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    kernel = draw.integer(1, 3)
    same = draw.yes() or not fits(x, kernel)
    return net.pool(x, kernel, draw.integer(1, 3), average=draw.yes(), same=same)


def residual(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    y = net.conv(net.conv(x, 4, draw.choice([1, 3])), x.shape[3], 3)
    return net.add(x, y) if draw.yes() else net.add(y, x)


def pointwise(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    return net.relu(x) if draw.yes() else net.requantize(x)


def branches(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    """An inception cell whose branches reach differently far, side by side in channels."""
    return net.concatenate([net.pool(x, 3, 1), net.relu(x), net.pool(x, 5, 1, average=True)])


def padded(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    """Padding of its own before a convolution that has none, as Keras' MobileNets have it."""
    x = net.pad(x, (draw.integer(0, 1), draw.integer(0, 2)), (1, 1))
    return net.conv(x, 3, 3, draw.integer(1, 2), same=not fits(x, 3))


def constants(draw: Draw, net: Network, x: TensorSpec) -> TensorSpec:
    """Added per channel, per column, per row, or per element: the last two are cut into rows themselves."""
    _, height, width, channels = x.shape
    shapes = [(channels,), (1, 1, width, 1), (1, height, 1, 1), (1, height, width, channels), (width, channels)]
    return net.add_constant(x, *draw.choice(shapes))


LAYERS = [conv, conv, depthwise, pool, residual, pointwise, branches, padded, constants]


def test_stripes_mean_the_same() -> None:
    for draw in draws("stripes", 40):
        assert_stripes(stages(draw).graph(), draw.integer(1, 6))


def assert_stripes(graph: Graph, height: int) -> None:
    """Whether shared rows are kept or computed again."""
    found = find_stages(graph)
    assert found and found[-1].end == len(graph.ops)
    x = image(graph)
    want = evaluate_all(graph, [x])
    for stage in found:
        for keep in (False, True):
            if only_padding(graph, stage, height):
                assert stripe_stage(graph, stage, height, keep=keep) is None
                continue
            striped = striped_graph(graph, stage, height, keep)
            striped.validate()
            got = evaluate_all(striped, [x])
            assert np.array_equal(want[stage.result], got[stage.result])
            assert np.array_equal(want[graph.outputs[0]], got[graph.outputs[0]])
            check_macs(graph, striped, keep)


def check_macs(graph: Graph, striped: Graph, keep: bool) -> None:
    macs = [sum(op.macs(g.node(op)) for op in g.ops) for g in (graph, striped)]
    # Rows that nothing reads are not computed in stripes, so there may be fewer; with rows kept never more.
    assert macs[1] <= macs[0] or not keep


@pytest.fixture
def any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    search_briefly(monkeypatch)


@pytest.mark.usefixtures("any_order")
@pytest.mark.parametrize(
    ("count", "most"), [(6, 40), pytest.param(16, 160, marks=pytest.mark.long)], ids=["some", "many"]
)
def test_the_c_does_too(count: int, most: int) -> None:
    """LiteRT's codes, from C under sanitizers and in the emulated core: rows lie where they should.

    Args:
        most: operators of a striped graph.
    """
    graphs, samples, expected, labels = [], [], [], []
    for number, draw in enumerate(draws(f"{count} stripes in C", 2 * count)):
        net, height, keep = stages(draw), draw.integer(1, 4), number % 2 == 0
        graph = net.graph(f"m{number}")
        stage = find_stages(graph)[-1]
        if only_padding(graph, stage, height):
            continue
        striped = striped_graph(graph, stage, height, keep)
        if len(graphs) < count and len(striped.ops) <= most:
            graphs.append(striped)
            samples.append([[image(graph, seed)] for seed in range(2)])
            expected.append(reference_outputs(net.model(), samples[-1]))
            labels.append(f"stripes, shared rows {'kept' if keep else 'computed again'}")
    assert len(graphs) == count and sum(len(graph.ops) for graph in graphs) > 10 * count
    compare_code(graphs, samples, expected, labels, on_board=True)


def chain(height: int = 12) -> Graph:
    net = Network(2)
    net.conv(net.conv(net.input(height, 8, 3), 4, 3), 5, 3)
    return net.graph()


def test_shared_rows_are_computed_again_or_kept() -> None:
    graph = chain()
    stage = find_stages(graph)[-1]
    again, kept = (striped_graph(graph, stage, 3, keep) for keep in (False, True))
    first = graph.ops[0].name
    heights = [
        [g.tensors[op.outputs[0]].shape[1] for op in g.ops if op.name.startswith(f"{first}_stripe")]
        for g in (again, kept)
    ]
    # Two rows above and below the middle stripes; the border has padding instead.
    assert heights == [[4, 5, 5, 4], [4, 3, 3, 2]]
    assert not any(isinstance(op, CopyRows) for op in again.ops)
    # Each border between stripes: two rows are put aside, and back.
    assert sum(isinstance(op, CopyRows) for op in kept.ops) == 3 * 2
    assert isinstance(again.ops[-1], JoinRows)


@pytest.mark.usefixtures("any_order")
def test_only_stripes_live() -> None:
    """The tensor in the middle is never there as a whole, and joining costs no code."""
    graph = chain(height=64)
    stage = find_stages(graph)[-1]
    whole = lower(graph)
    for keep in (False, True):
        striped = striped_graph(graph, stage, 4, keep)
        program = lower(striped)
        middle, result = 64 * 8 * 4, 64 * 8 * 5
        assert whole.memory.arena_bytes >= middle + result
        assert program.memory.arena_bytes <= result + 64 * 8 * 3 + 8 * 8 * 4 + 3 * 64
        assert all(s.index == -1 for s in program.steps if isinstance(s.node.op, (JoinRows, RowWindow)))


@pytest.mark.parametrize("size", [16, 17])
@pytest.mark.parametrize("keep", [False, True])
def test_padding_by_itself_is_cut_with_a_row_of_the_image(size: int, keep: bool) -> None:
    """The last stripe wants one row more, and that is padding: Keras' MobileNets are like that."""
    net = Network(4)
    x = net.conv(net.input(size, 6, 2), 3, 3)
    net.conv(net.pad(x, (0, 1), (0, 1)), 4, 3, 2, same=False)
    graph = net.graph()
    stage = find_stages(graph)[-1]
    want = evaluate_all(graph, [image(graph)])
    for height in range(1, 8):
        got = evaluate_all(striped_graph(graph, stage, height, keep), [image(graph)])
        assert np.array_equal(got[stage.result], want[stage.result])


@pytest.mark.usefixtures("any_order")
def test_equal_stripes_share_one_function() -> None:
    graph = chain(height=40)
    stage = find_stages(graph)[-1]
    for keep in (False, True):
        striped = striped_graph(graph, stage, 4, keep)
        plans = [step.plan for step in lower(striped).layers if step.plan.stem.startswith("conv")]
        kinds = {(plan.template, repr(sorted(plan.context.items()))) for plan in plans if plan.context["out_c"] == 5}
        assert len(plans) == 20
        assert len(kinds) == 3  # top, middle, bottom


def test_what_leaves_a_stage_ends_it() -> None:
    """A tensor that is needed later, as a skip over the stage's end is, keeps the stage from ending there."""
    net = Network(4)
    x = net.input(8, 8, 2)
    a = net.conv(x, 4, 3)
    b = net.conv(a, 4, 3)
    net.conv(net.add(a, b), 3, 3)
    graph = net.graph()
    assert [(s.first, s.end) for s in find_stages(graph)] == [(0, 1), (0, 3), (0, 4)]


def test_flat_layers_end_the_stage() -> None:
    net = Network(4)
    y = net.conv(net.input(8, 8, 2), 4, 3)
    net.reshape(y, (1, 256))
    assert [s.end for s in find_stages(net.graph())] == [1]
    flat = Network(4)
    flat.reshape(flat.input(8, 8, 2), (1, 128))
    assert find_stages(flat.graph()) == []


def test_another_input_ends_the_stage() -> None:
    """What comes from elsewhere is not cut into rows: the stage ends before it is read."""
    net = Network(4)
    x, other = net.input(8, 8, 2), net.input(8, 8, 2)
    y = net.conv(net.conv(x, 4, 3), 2, 3)
    net.conv(net.add(y, other), 2, 3)
    graph = net.graph()
    assert [(s.first, s.end) for s in find_stages(graph)] == [(0, 1), (0, 2)]
    program = lower(graph, streaming=Streaming(recompute=1.0))
    assert program.streamed is not None and len(program.streamed.operators) == 2
    inputs = [np.random.default_rng(i).integers(-128, 128, (1, 8, 8, 2)).astype(np.int8) for i in range(2)]
    want = evaluate_all(graph, inputs)[graph.outputs[0]]
    assert np.array_equal(run_in_arena(program, inputs)[0], want)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_other_types(dtype: str) -> None:
    """Rows of two and four bytes per element; floats are summed in the same order, so they are equal too."""
    net = Network(7, dtype)
    x = net.conv(net.input(20, 9, 3), 6, 3)
    net.pool(net.conv(net.add(net.conv(x, 6, 3), x), 2, 3, 2), 2, 2)
    graph = net.graph("wide")
    rng = np.random.default_rng(0)
    tensor = graph.tensors[graph.inputs[0]]
    feed = [[(rng.integers(-3000, 3000, tensor.shape) / (1 if dtype == "int16" else 1000)).astype(tensor.dtype)]]
    program = lower(graph, streaming=Streaming())
    assert program.streamed is not None
    assert program.memory.arena_bytes < 0.7 * program.streamed.arena_bytes_before
    assert np.array_equal(run_in_arena(program, feed[0])[0], evaluate_all(graph, feed[0])[graph.outputs[0]])
    expected = [reference_outputs(net.model(), feed)]
    compare_code([graph], [feed], expected, [f"{dtype} in stripes"], on_board=True, streaming=Streaming())


def test_an_input_needed_later_is_no_obstacle_to_refusing() -> None:
    """The image itself is added to the result: then two tensors enter what follows, and the stage must hold both."""
    net = Network(4)
    x = net.input(8, 8, 2)
    net.add(net.conv(x, 2, 3), x)
    assert [(s.first, s.end) for s in find_stages(net.graph())] == [(0, 2)]


@pytest.mark.parametrize("height", [1, 2, 3])
def test_rows_of_a_stage_are_in_order(height: int) -> None:
    graph = chain()
    stage = find_stages(graph)[-1]
    rows = stripe_rows(graph, stage, height, keep=True)
    assert rows is not None
    for tensor in (op.outputs[0] for op in graph.ops):
        spans = [stripe.new[tensor] for stripe in rows if tensor in stripe.new]
        assert spans[0][0] == 0 and spans[-1][1] == graph.tensors[tensor].shape[1]
        assert all(a[1] == b[0] for a, b in pairwise(spans))
