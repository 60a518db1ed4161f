"""The order of operators: as good as the best of all topological orders, and never worse than the given one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.support.cases import Draw, draws
from tests.support.differential import compare_models
from tests.support.networks import SCALE, Network
from tests.support.tflite_builder import TensorSpec
from tinygen.ir.graph import Graph
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.lowering.lifetimes import assign_slots
from tinygen.lowering.lower import lower
from tinygen.lowering.order import Schedule, best_order, peak_of
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.planner import aligned
from tinygen.lowering.select import choose

ISA = ("c99", "dsp")


def plans_of(graph: Graph) -> list[KernelPlan]:
    """Of the kernels there are, pools working in place besides: their outputs may be smaller than their inputs."""
    chosen = [choose(node, "tinygen", ISA).variants[0] for node in graph.nodes()]
    return [
        replace(plan, inplace=((0, 0),)) if isinstance(op, MaxPool2D) else plan
        for op, plan in zip(graph.ops, chosen, strict=True)
    ]


def peak(graph: Graph, plans: list[KernelPlan]) -> int:
    """Largest sum of live bytes, from the lifetimes that lowering uses."""
    buffers = [slot.buffer() for slot in assign_slots(graph, plans)[0]]
    return max(
        aligned(plans[step].scratch_bytes) + sum(aligned(b.size_at(step)) for b in buffers if b.first <= step <= b.last)
        for step in range(len(graph.ops))
    )


def orders(graph: Graph) -> Iterator[list[int]]:
    """All topological orders."""
    writer = {name: i for i, op in enumerate(graph.ops) for name in op.outputs}
    needs = [{writer[name] for name in op.inputs if name in writer} for op in graph.ops]

    def extend(prefix: list[int]) -> Iterator[list[int]]:
        if len(prefix) == len(graph.ops):
            yield list(prefix)
        for i in range(len(graph.ops)):
            if i not in prefix and needs[i] <= set(prefix):
                yield from extend([*prefix, i])

    return extend([])


def reordered(graph: Graph, plans: list[KernelPlan], order: list[int]) -> tuple[Graph, list[KernelPlan]]:
    return replace(graph, ops=tuple(graph.ops[i] for i in order)), [plans[i] for i in order]


def networks(draw: Draw) -> Network:
    """Small branching networks: operators that work in place, aliases, scratch, several inputs and outputs."""
    net = Network(draw.integer(0, 1000))
    known = [net.input(4, 4, draw.integer(1, 8)) for _ in range(draw.integer(1, 2))]
    for _ in range(draw.integer(3, 7)):
        x = known[draw.integer(0, len(known) - 1)]
        kind = draw.choice(["conv", "conv", "pool", "relu", "add", "add", "reshape", "requantize"])
        if kind == "conv":
            y = net.conv(x, draw.integer(1, 24), draw.choice([1, 3]))
        elif kind == "pool":
            y = net.pool(x, 2, draw.integer(1, 2))
        elif kind == "add":
            twins = [t for t in known if t.shape == x.shape]
            y = net.add(x, twins[draw.integer(0, len(twins) - 1)])
        elif kind == "reshape":
            y = net.reshape(x, x.shape)
        else:
            y = net.relu(x) if kind == "relu" else net.requantize(x)
        known.append(y)
    return net


def test_best_of_all_orders() -> None:
    better = sum(assert_best(networks(draw).graph()) for draw in draws("orders", 60))
    assert better > 5  # else nothing was tried


def assert_best(graph: Graph) -> bool:
    """Whether another order than the given one is the best."""
    plans = plans_of(graph)
    given_peak = peak(graph, plans)
    assert peak_of(graph, plans) == given_peak
    best = min(peak(*reordered(graph, plans, order)) for order in orders(graph))
    schedule = best_order(graph, plans)
    assert schedule.optimal
    assert schedule.peak_bytes == best == peak(*reordered(graph, plans, list(schedule.order)))
    if best == given_peak:
        assert schedule.order == tuple(range(len(graph.ops)))
    return best < given_peak


def test_a_smaller_output_in_place_frees_the_rest() -> None:
    """What follows a pool that works in place sees the pool's output, not the larger buffer it lies in."""
    net = Network(1)
    net.conv(net.pool(net.input(16, 16, 4), 2, 2), 8, 3)
    graph = net.graph()
    plans = plans_of(graph)
    slots, places = assign_slots(graph, plans)
    pool = graph.ops[0]
    assert places[pool.inputs[0]] == places[pool.outputs[0]]
    assert slots[0].buffer().pieces() == [(0, 0, 1024), (1, 1, 256)]
    assert peak(graph, plans) == max(1024, 256 + 512 + aligned(plans[1].scratch_bytes))


def test_an_input_read_otherwise_is_not_overwritten() -> None:
    """An operator that may overwrite what it adds but reads it in another way too gets a buffer of its own."""
    net = Network(1)
    x = net.conv(net.input(8, 8, 4), 4)
    net.add(x, x)
    graph = net.graph()
    plans = plans_of(graph)
    total = graph.ops[1]
    assert set(plans[1].inplace) == {(0, 0), (1, 0)}
    places = assign_slots(graph, plans)[1]
    assert places[total.inputs[0]] == places[total.outputs[0]]
    plans[1] = replace(plans[1], inplace=((1, 0),))
    places = assign_slots(graph, plans)[1]
    assert places[total.inputs[0]].slot is not places[total.outputs[0]].slot
    assert peak_of(graph, plans) == peak(graph, plans)


def branching() -> Network:
    """Three branches that each grow large and shrink again; the file lists them breadth first."""
    net = Network(3)
    x = net.input(16, 16, 4)
    wide = [net.conv(x, 32, 3) for _ in range(3)]
    small = [net.conv(branch, 2, 3, 2) for branch in wide]
    net.add(net.add(small[0], small[1]), small[2])
    return net


def test_a_branching_model_needs_less() -> None:
    """Breadth first, three outputs of 8 KiB live together; depth first, one."""
    graph = branching().graph()
    program = lower(graph)
    assert program.ordering.changed
    assert program.ordering.optimal
    assert program.ordering.given_arena_bytes >= 3 * 8192
    assert program.memory.arena_bytes < 11000
    assert sorted(op.name for op in program.graph.ops) == sorted(op.name for op in graph.ops)
    program.graph.validate()
    assert [s.node.op.name for s in lower(graph).steps] == [s.node.op.name for s in program.steps]


def test_reordered_code_is_exact() -> None:
    net = branching()
    image = np.random.default_rng(1).integers(-128, 128, (1, 16, 16, 4)).astype(np.int8)
    compare_models([net.model()], [[[image]]], ["reordered branches"])


def test_the_arena_decides_not_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order with a lower peak whose buffers cannot be placed as well is not taken."""
    graph = branching().graph()
    best = lower(graph)
    names = [op.name for op in best.graph.ops]
    breadth_first = Schedule(tuple(names.index(op.name) for op in graph.ops), 1, True)
    monkeypatch.setattr("tinygen.lowering.lower.best_order", lambda graph, plans, caller: breadth_first)
    kept = lower(best.graph)
    assert not kept.ordering.changed
    assert not kept.ordering.optimal
    assert [op.name for op in kept.graph.ops] == names


def cells(count: int, branches: int) -> Network:
    """Cells of parallel branches, as found by architecture search."""
    net = Network(5)
    x: TensorSpec = net.input(8, 8, 8)
    for _ in range(count):
        outs = [net.conv(net.conv(x, 8 + 2 * i), 8) for i in range(branches)]
        x = outs[0]
        for other in outs[1:]:
            x = net.add(x, other)
    assert x.scale is not None and x.scale >= SCALE
    return net


@pytest.mark.parametrize(("count", "work"), [(12, 20_000), pytest.param(40, 150_000, marks=pytest.mark.long)])
def test_large_graphs_take_seconds(count: int, work: int) -> None:
    """Beyond the limit the search keeps the best states of each level: still better, and soon done."""
    graph = cells(count, 5).graph()
    plans = plans_of(graph)
    started = time.monotonic()
    schedule = best_order(graph, plans, work=work)
    assert time.monotonic() - started < 60
    assert schedule.peak_bytes <= peak(graph, plans)
    assert peak(*reordered(graph, plans, list(schedule.order))) == schedule.peak_bytes
