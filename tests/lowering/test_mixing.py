"""Experts' weights are mixed as a whole layer or four filters at a time: as takes fewer cycles in the RAM there is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.builds.report import mixing_text
from tinygen.errors import FitError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.graph import Graph
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.mixed_conv_2d import MixedConv2D
from tinygen.lowering.fuse_mixing import fuse_mixing, mixing_layers
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Program
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build

DSP = ("c99", "dsp", "dual-issue")
SCALAR = ("c99", "scalar")


@cache
def _network(side: int, channels: int, density: Fraction = Fraction(1)) -> Graph:
    method = Method(density, 4)
    return simplify(gated_network("mixed", (ConvLayer(channels), ConvLayer(channels)), (side, side, 4), method))


def _apart(program: Program) -> set[str]:
    """Layers that mix four filters at a time."""
    return {step.node.op.name for step in program.steps if isinstance(step.node.op, MixedConv2D)}


def _cycles(program: Program) -> float:
    return sum(step.plan.cycles for step in program.steps)


@pytest.mark.parametrize("isa", [DSP, SCALAR], ids=["dsp", "scalar"])
@pytest.mark.parametrize("side", [8, 16])
def test_fewer_cycles_in_no_more_ram(side: int, isa: tuple[str, ...]) -> None:
    """Weights that are mixed where they are multiplied are not stored and read again, if scratch takes all rows."""
    graph = _network(side, 64)
    whole, chosen = lower(graph, isa=isa, mixed=()), lower(graph, isa=isa)
    assert not _apart(whole) and "conv1" in _apart(chosen)
    assert _cycles(chosen) < _cycles(whole) and chosen.memory.arena_bytes < whole.memory.arena_bytes
    (plan,) = (step.plan for step in chosen.steps if step.node.op.name == "conv1")
    assert plan.mixed_bytes == 4 * 64 * 9 * (2 if isa is DSP else 1)


def test_each_layer_as_is_best_for_it() -> None:
    """Where others have more in RAM, there is no room for all rows: some layers mix as a whole, others do not."""
    layers = (ConvLayer(16), ConvLayer(24), ConvLayer(10))
    graph = simplify(gated_network("mixed", layers, (16, 16, 3), Method(Fraction(1, 2), 4)))
    able = mixing_layers(graph, "tinygen", DSP)
    assert able == {f"conv{i}": f"conv{i}_mixed" for i in range(3)}
    chosen = lower(graph, isa=DSP)
    assert 0 < len(_apart(chosen)) < 3
    others = [lower(graph, isa=DSP, mixed=some) for some in ((), able)]
    arena = chosen.memory.arena_bytes
    assert all(_cycles(one) > _cycles(chosen) or one.memory.arena_bytes > arena for one in others)


def test_a_smaller_arena() -> None:
    """Mixed weights as a whole do not fit; filter by filter the layer takes more cycles, and fits."""
    graph = _network(16, 64)
    whole = lower(graph, isa=DSP, mixed=(), streaming=Streaming())
    with pytest.raises(FitError) as refused:
        lower(graph, isa=DSP, mixed=(), streaming=Streaming(0))
    limit = refused.value.excess["arena"] - 8
    fitting = lower(graph, isa=DSP, streaming=Streaming(limit))
    assert "conv1" in _apart(fitting) and fitting.memory.arena_bytes <= limit
    smallest = lower(graph, isa=DSP, streaming=Streaming())
    assert smallest.memory.arena_bytes < 0.75 * whole.memory.arena_bytes
    with pytest.raises(FitError, match="does not fit 1,000 bytes"):
        lower(graph, isa=DSP, streaming=Streaming(1000))


def test_what_stays_as_it_is() -> None:
    """Weights that something else reads, too; other families; kernels that are named."""
    graph = _network(8, 8)
    assert set(mixing_layers(graph, "tinygen", SCALAR)) == {"conv0", "conv1"}
    (made,) = (op.outputs[0] for op in graph.ops if op.name == "conv0_mixed")
    seen = replace(graph, outputs=(*graph.outputs, made))
    assert set(mixing_layers(seen, "tinygen", SCALAR)) == {"conv1"}
    for family, isa in (("reference", SCALAR), ("tinygen", ("c99",))):
        assert not mixing_layers(graph, family, isa)
    assert fuse_mixing(graph, ()) is graph
    assert not _apart(lower(graph, isa=DSP, kernels={"conv0": "gather_conv_2d_dsp"}))
    sums = [
        replace(op, epilogue=replace(op.epilogue, shift=(40,))) if isinstance(op, MixWeights) else op
        for op in graph.ops
    ]
    assert not mixing_layers(replace(graph, ops=tuple(sums)), "tinygen", DSP), "rounding them takes 64 bits"


def test_build_says_which(tmp_path: Path) -> None:
    graph = _network(8, 16)
    built = build(MemoryModel(graph, "mixed"), tmp_path / "out", BuildOptions(board="host"))
    assert mixing_text(built.manifest) == "four filters at a time: conv0 (288 B), conv1 (1,152 B)"
