"""Kernels by what their scratch costs the network: preferences, limits, and what they promise each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.lowering.test_order import networks
from tests.support.arena import run_in_arena
from tests.support.branches import gated
from tests.support.cases import Draw, draws
from tinygen.errors import FitError
from tinygen.ir.branch import Branch, all_graphs
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower, lower_chosen
from tinygen.lowering.program import Program
from tinygen.lowering.scratch_search import Prefer, cycles_of, flash_of
from tinygen.lowering.streaming import Streaming

CORES = (("c99", "dsp", "dual-issue"), ("c99", "scalar", "rv32"), ("c99", "scalar", "armv6m"))


def drawn(count: int) -> list[tuple[Draw, Graph]]:
    return [(draw, networks(draw).graph()) for draw in draws("scratch", count)]


def right(program: Program, graph: Graph) -> bool:
    """Whether it computes in its arena what the graph means."""
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs]
    found = zip(evaluate(graph, inputs), run_in_arena(program, inputs), strict=True)
    return all(np.array_equal(want, got) for want, got in found)


@pytest.mark.parametrize("isa", CORES, ids=lambda isa: isa[-1])
def test_what_preferences_promise(isa: tuple[str, ...]) -> None:
    smaller = 0
    for _, graph in drawn(12):
        by = {prefer: lower(graph, isa=isa, prefer=prefer) for prefer in Prefer}
        assert all(right(program, graph) for program in by.values())
        arenas = {prefer: program.memory.arena_bytes for prefer, program in by.items()}
        assert cycles_of(by[Prefer.SPEED]) <= cycles_of(by[Prefer.BALANCE]) * 1.01
        assert cycles_of(by[Prefer.BALANCE]) <= cycles_of(by[Prefer.RAM]) * 1.01
        assert arenas[Prefer.RAM] <= arenas[Prefer.BALANCE] <= arenas[Prefer.SPEED]
        smaller += arenas[Prefer.RAM] < arenas[Prefer.SPEED]
    assert smaller


def test_more_room_is_never_slower() -> None:
    """Nor is what fits with the plainest kernels ever refused."""
    for draw, graph in drawn(8):
        plain = lower(graph, isa=CORES[0], family="reference").memory.arena_bytes
        most = lower(graph, isa=CORES[0], prefer=Prefer.SPEED).memory.arena_bytes
        limits = sorted({plain, most, *(draw.integer(plain, max(plain, most)) for _ in range(3))})
        cycles = []
        for limit in limits:
            program = lower(graph, isa=CORES[0], streaming=Streaming(limit))
            assert program.memory.arena_bytes <= limit and right(program, graph)
            cycles.append(cycles_of(program))
        assert cycles == sorted(cycles, reverse=True)


def test_a_refusal_names_an_arena_that_is_taken() -> None:
    for _, graph in drawn(4):
        with pytest.raises(FitError) as refused:
            lower(graph, isa=CORES[0], streaming=Streaming(0))
        least = refused.value.excess["arena"]
        assert f"{least:,} at best" in refused.value.what
        assert lower(graph, isa=CORES[0], streaming=Streaming(least)).memory.arena_bytes <= least


def test_balance_takes_no_more_flash() -> None:
    for _, graph in drawn(8):
        first = lower(graph, isa=CORES[0], streaming=Streaming(1 << 30, striped=False))
        assert flash_of(lower(graph, isa=CORES[0])) <= flash_of(first)


def test_branches_are_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or branches within each other would take a dozen times as long for each level."""
    calls = 0

    def counted(*arguments: Any, **more: Any) -> Program:
        nonlocal calls
        calls += 1
        return lower_chosen(*arguments, **more)

    monkeypatch.setattr("tinygen.lowering.lower.lower_chosen", counted)
    graph = _within_each_other(gated(), 3)
    lower(graph, isa=CORES[0], prefer=Prefer.SPEED)
    branches = sum(1 for _ in all_graphs(graph)) - 1
    assert calls <= 80 + branches


def _within_each_other(graph: Graph, levels: int) -> Graph:
    """A network in branches of branches."""
    for level in range(levels):
        inputs = {name: graph.tensors[name] for name in graph.inputs}
        outputs = {name: graph.tensors[name] for name in graph.outputs}
        index = Tensor("which", (1,), Plain("int32"))
        names = tuple(inputs)
        op = Branch(name=f"level{level}", inputs=("which", *names), outputs=tuple(outputs), branches=(graph, graph))
        tensors = {"which": index, **inputs, **outputs}
        graph = Graph(f"outer{level}", tensors, (op,), ("which", *names), tuple(outputs))
    return graph
