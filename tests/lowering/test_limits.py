"""Limits of the arena take the best there is: more room is never slower, and what fits is never refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.lowering.test_order import networks
from tests.lowering.test_packed_activations import network as lowbit_network
from tests.lowering.test_scratch import residual
from tests.lowering.test_streaming_networks import streaming
from tests.support.arena import run_in_arena
from tests.support.branches import random_graph
from tests.support.cases import Draw, draws
from tests.support.integer_layers import TERNARY, affine, levels
from tests.support.networks import mobilenet
from tests.support.switchable import small_graph
from tinygen.errors import FitError
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network, Switch
from tinygen.lowering.lower import lower
from tinygen.lowering.network import NetworkProgram, lower_network
from tinygen.lowering.program import Program
from tinygen.lowering.scratch_search import Prefer, cycles_of
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify

CORES = (("c99", "dsp", "dual-issue"), ("c99", "dsp"), ("c99", "scalar", "rv32"))
KINDS: dict[str, Callable[[Draw], Graph]] = {
    "branching": lambda draw: networks(draw).graph(),
    "residual": lambda draw: residual(),
    "low-bit": lambda draw: lowbit_network(draw.choice([2, 3, 4]), 4 * draw.integer(1, 8), draw.integer(4, 12)).graph,
    "mobilenet": lambda draw: simplify(mobilenet(draw.choice([16, 24, 32])).graph("mobile")),
    "choosing": lambda draw: simplify(random_graph(draw, "choosing")),
    "streaming": lambda draw: simplify(streaming(draw.integer(0, 20), lowbit=draw.choice([False, True]))),
}


def limited(graph: Graph, limit: int, isa: tuple[str, ...], family: str) -> Program:
    """Within the limit; raises FitError."""
    program = lower(graph, isa=isa, family=family, streaming=Streaming(limit))
    assert program.memory.arena_bytes <= limit
    return program


def assert_best(graph: Graph, draw: Draw, isa: tuple[str, ...], family: str, count: int) -> Program:
    """No preference of any family is better than its limit; returns the tightest program."""
    with pytest.raises(FitError) as refused:
        limited(graph, 0, isa, family)
    least = refused.value.excess["arena"]
    assert f"{least:,} at best" in refused.value.what
    settings: list[dict[str, Any]] = [{"family": family, "prefer": prefer} for prefer in Prefer]
    settings += [{"family": "reference"}, {"family": "compact"}, {"family": family, "streaming": Streaming()}]
    others = [lower(graph, isa=isa, **setting) for setting in settings]
    arenas = [one.memory.arena_bytes for one in others]
    drawn = [draw.integer(least, 1 + max(least, *arenas)) for _ in range(count)]
    limits = sorted({least, *drawn, *(arena for arena in arenas if arena >= least)})
    found = [limited(graph, limit, isa, family) for limit in limits]
    # Where the quickest plan without stripes fits, stripes are not tried, though some are predicted to be faster.
    quickest = min((cycles_of(one) for one in found if one.streamed is None), default=0)
    cycles = [max(cycles_of(one), quickest) for one in found]
    assert cycles == sorted(cycles, reverse=True), (limits, cycles)
    for other, arena in zip(others, arenas, strict=True):
        assert arena >= least
        assert cycles[limits.index(arena)] <= max(cycles_of(other), quickest)
    return found[0]


def assert_right(program: Program, graph: Graph) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs]
    for want, got in zip(evaluate(graph, inputs), run_in_arena(program, inputs), strict=True):
        assert np.array_equal(want, got)


@pytest.mark.parametrize("kind", KINDS)
def test_limits(kind: str) -> None:
    for index, draw in enumerate(draws(f"limits of {kind}", 1)):
        assert_best(KINDS[kind](draw), draw, CORES[index % len(CORES)], "compact", 2)


@pytest.mark.long
@pytest.mark.parametrize("family", ["compact", "tinygen"])
@pytest.mark.parametrize("isa", CORES, ids=lambda isa: isa[-1])
@pytest.mark.parametrize("kind", KINDS)
def test_many_limits(kind: str, isa: tuple[str, ...], family: str) -> None:
    for draw in draws(f"limits of many {kind}", 4):
        graph = KINDS[kind](draw)
        tightest = assert_best(graph, draw, isa, family, 6)
        if kind in ("branching", "residual", "mobilenet"):
            assert_right(tightest, graph)


def test_limits_of_switches() -> None:
    """The switch that needs most decides; the others keep within the limit as well."""
    codings = {"ternary": (TERNARY, affine(-128)), "w2a2": (levels(2, True), levels(2))}
    switches = tuple(Switch(name, simplify(small_graph("net", *coding))) for name, coding in codings.items())
    net = Network("net", switches)

    def within(limit: int) -> NetworkProgram:
        return lower_network(net, isa=CORES[0], streaming=Streaming(limit))

    usual = lower_network(net, isa=CORES[0]).arena_bytes
    with pytest.raises(FitError):
        within(usual // 8)
    cycles = []
    for limit in (usual // 2, usual * 3 // 4, usual, 2 * usual):
        program = within(limit)
        assert program.arena_bytes <= limit
        cycles.append([cycles_of(one) for one in program.programs])
    for tight, wide in itertools.pairwise(cycles):
        assert all(more <= less for less, more in zip(tight, wide, strict=True))
