"""Gates that save nothing: all channels are computed, and the same codes come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from tests.support.gated import Gated, Masked, feeds_of, gated_conv, masked_conv
from tests.support.integer_layers import random_codes
from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mask_channels import MaskChannels
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.lowering.dense_gates import GateCosts, GateDecision, Gates, dense_gates
from tinygen.lowering.gate_rewriting import dense_graph, gated_nodes
from tinygen.lowering.lower import lower
from tinygen.lowering.select import choose
from tinygen.passes.pipeline import simplify

ISA = ("c99", "dsp", "dual-issue")
SCALAR = ("c99", "scalar")
WIDE = (ConvLayer(64), ConvLayer(64))
DYNAMIC = Method(predictor=True)
AUTO = GateCosts("tinygen", ISA)
NEVER = GateCosts("tinygen", ISA, Gates.NEVER)


@cache
def _network(method: Method, layers: tuple[ConvLayer, ...] = (ConvLayer(16),) * 2, side: int = 8) -> Graph:
    return simplify(gated_network("gates", layers, (side, side, 4), method))


def _second(graph: Graph, costs: GateCosts = AUTO) -> GateDecision:
    """Of the layer whose inputs are gated, too."""
    return next(one for one in dense_gates(graph, costs)[1] if one.name == "conv1")


def _kinds(graph: Graph, kind: type) -> int:
    return sum(isinstance(op, kind) for op in graph.ops)


@pytest.mark.parametrize("predictor", [False, True], ids=["boosted", "predicted"])
def test_only_what_saves_nothing(predictor: bool) -> None:
    """Gates that keep all of 16 channels are ignored; those that keep a quarter of them are not."""
    changed, found = dense_gates(_network(Method(Fraction(1), predictor=predictor)), AUTO)
    assert [one.all_computed for one in found] == [True, True]
    assert all(one.dense is not None and one.gated > one.dense for one in found)
    assert found[1].note.startswith("conv1: its gate keeps 16 of 16 channels, which takes about 1.")
    assert f"at most {found[1].break_even} channels" in found[1].note
    gathers = [op for op in changed.ops if isinstance(op, GatherConv2D)]
    assert not any(op.inputs[2:4] != ("", "") for op in gathers) and len(gathers) == (0 if predictor else 2)
    # Of all channels there is nothing to mask, gather or scatter.
    assert len(changed.ops) == len(_network(Method(Fraction(1), predictor=predictor)).ops)
    quarter = _network(Method(Fraction(1, 4), predictor=predictor))
    changed, found = dense_gates(quarter, AUTO)
    assert changed == quarter and not any(one.all_computed or one.note for one in found if one.name == "conv1")
    whole = _network(Method(Fraction(1), predictor=predictor))
    for family in ("reference", "cmsis-nn"):
        assert dense_gates(whole, GateCosts(family, ISA))[0] == whole


@pytest.mark.parametrize(("isa", "side"), [(ISA, 16), (ISA, 8), (SCALAR, 8)], ids=["m7-16", "m7-8", "rv32-8"])
def test_both_sides_of_break_even(isa: tuple[str, ...], side: int) -> None:
    """Computed alone with no more live channels than the figure says; all of them with a few more."""
    costs = GateCosts("tinygen", isa)
    most = _second(_network(Method(Fraction(56, 64)), WIDE, side), costs).break_even
    assert 48 <= most <= 62
    below = _second(_network(Method(Fraction(most // 4 * 4 - 4, 64)), WIDE, side), costs)
    above = _second(_network(Method(Fraction(most // 4 * 4 + 4, 64)), WIDE, side), costs)
    assert below.dense is not None and above.dense is not None
    assert not below.all_computed and below.gated < below.dense
    assert above.all_computed and above.gated > above.dense
    assert abs(below.break_even - most) <= 8 and abs(above.break_even - most) <= 8


@pytest.mark.parametrize(
    ("side", "quarters", "measured"), [(8, 4, 1.415), (8, 3, 0.819), (16, 4, 1.228), (16, 2, 0.330), (16, 1, 0.086)]
)
def test_costs_are_those_of_the_bench(side: int, quarters: int, measured: float) -> None:
    """What suite `gated` measures on the M7 with gcc, live channels alone."""
    found = _second(_network(Method(Fraction(quarters, 4)), WIDE, side), GateCosts("tinygen", ISA, Gates.ALWAYS))
    assert not found.all_computed
    assert (found.gated + found.gate) / found.ungated == pytest.approx(measured, rel=0.08)


@pytest.mark.parametrize(("side", "measured"), [(8, 1.035), (16, 1.027)])
def test_costs_of_all_channels(side: int, measured: float) -> None:
    """The same with all of them computed."""
    found = _second(_network(Method(Fraction(1)), WIDE, side))
    assert found.dense is not None
    assert (found.dense + found.gate) / found.ungated == pytest.approx(measured, rel=0.02)


def test_the_layer_without_a_gate() -> None:
    whole = _network(Method(), WIDE, 16)
    (dense,) = (node for node in whole.nodes() if isinstance(node.op, Conv2D) and node.op.name == "conv1")
    found = _second(_network(Method(Fraction(1, 2)), WIDE, 16))
    assert found.ungated == pytest.approx(choose(dense, "tinygen", ISA).fastest.cycles, rel=0.1)


def test_notes() -> None:
    """Of 8 channels on few pixels nothing can be saved, of 64 a quarter pays; mixed weights have no ungated layer."""
    always = GateCosts("tinygen", ISA, Gates.ALWAYS)
    small = _second(_network(Method(Fraction(1)), (ConvLayer(8),) * 2, 4), always)
    assert small.note.startswith("conv1: its gate keeps 8 of 8 channels, and takes about ") and small.costs_more
    assert f"at most {small.pays_with} channels" in small.note
    assert not dense_gates(_network(Method(Fraction(1), 2), (ConvLayer(8),) * 2, 4), AUTO)[1]


def test_refused_gates_keep_all_channels_between_them() -> None:
    """A chain scatters and gathers nothing, as statistics read what layers do; the rest is masked once."""
    graph = _network(Method(Fraction(3, 4)))
    changed, found = dense_gates(graph, NEVER)
    assert [one.all_computed for one in found] == [True, True]
    assert [_kinds(changed, kind) for kind in (ScatterChannels, GatherChannels, MaskChannels)] == [0, 0, 2]
    assert all(len(op.inputs) == 1 for op in changed.ops if isinstance(op, ChannelStatistic))
    mixed = dense_graph(graph, {"conv1"})
    assert [_kinds(mixed, kind) for kind in (ScatterChannels, GatherChannels, MaskChannels)] == [1, 0, 1]
    mixed = dense_graph(graph, {"conv0"})
    assert [_kinds(mixed, kind) for kind in (ScatterChannels, GatherChannels, MaskChannels)] == [0, 1, 1]
    for one in (changed, mixed, dense_graph(graph, {"conv1"})):
        _same(one, graph)


def _same(changed: Graph, graph: Graph) -> None:
    """Whatever both compute has the same codes, lists included."""
    changed.validate()
    for feed in feeds_of(graph, np.random.default_rng(5)):
        got, wanted = evaluate_all(changed, feed), evaluate_all(graph, feed)
        assert set(graph.outputs) <= got.keys() and len(got.keys() & wanted.keys()) > 2
        for name in got.keys() & wanted.keys():
            np.testing.assert_array_equal(got[name], wanted[name])


def test_same_codes() -> None:
    """Of no, some and all live inputs and outputs, ties included; lists and live channels keep their names."""
    rng = np.random.default_rng(3)
    for number in range(14):
        live = (int(rng.integers(0, 8)), int(rng.integers(1, 10)))
        spec = Gated(name="g", image=(5, 4, 7), filters=9, live=live, gamma=number % 3 > 0, biased=number % 2 > 0)
        graph = gated_conv(replace(spec, seed=number))
        changed, found = dense_gates(graph, NEVER)
        assert [one.all_computed for one in found] == [True] and changed.outputs == graph.outputs
        for feed in feeds_of(graph, rng):
            for one, wanted in zip(evaluate(changed, feed), evaluate(graph, feed), strict=True):
                np.testing.assert_array_equal(one, wanted)


@pytest.mark.parametrize("listed", [(True, True), (True, False), (False, True)])
def test_same_codes_of_counted_lists(listed: tuple[bool, bool]) -> None:
    """All, some and no channels live."""
    graph = masked_conv(Masked(name="m", image=(5, 4, 7), filters=9, listed=listed))
    changed, found = dense_gates(graph, NEVER)
    assert found and all(one.all_computed for one in found) and not list(gated_nodes(changed))
    _same(changed, graph)


def test_networks() -> None:
    for method in (Method(Fraction(1, 2)), Method(Fraction(1, 2), predictor=True), DYNAMIC):
        graph = gated_network("gates", (ConvLayer(9), ConvLayer(6)), (6, 5, 3), method)
        _same(dense_gates(graph, NEVER)[0], graph)


def test_unmasked_inputs_are_masked() -> None:
    """A list of inputs counts although their writer does not follow it."""
    graph = masked_conv(Masked(name="m", image=(5, 4, 7), filters=9))
    ops = [replace(op, inputs=op.inputs[:2]) if i == 2 else op for i, op in enumerate(graph.ops)]
    assert isinstance(ops[2], MaskedConv2D)
    loose = replace(graph, ops=tuple(ops))
    changed, _ = dense_gates(loose, NEVER)
    assert _kinds(changed, MaskChannels) == 2
    _same(changed, loose)


def _firing(graph: Graph, share: float) -> Mapping[str, np.ndarray]:
    """As if this share of the channels were live for each of three inputs, one more or less."""
    lists = [name for name in graph.tensors if name.endswith("_live")]
    return {name: round(share * (graph.tensors[name].size - 1)) + np.array([-1, 0, 1]) for name in lists}


def test_data_sets_decide_for_counted_lists() -> None:
    """Without one they stay gated, and the note has the worst case; with one the mean cost decides."""
    graph = _network(DYNAMIC, WIDE, 16)
    changed, found = dense_gates(graph, AUTO)
    assert changed == graph and [one.live for one in found] == [None, None]
    worst = found[1]
    assert (worst.gated + worst.gate) / worst.ungated == pytest.approx(1.240, rel=0.08)
    assert worst.note.startswith("conv1: with all of its 64 channels live, its gate takes about 1.2")
    assert "--profile" in worst.note and f"at most {worst.pays_with} channels" in worst.note
    share = worst.break_even / 64
    assert 0.75 < share < 0.95
    for aside, whole in ((-0.06, False), (0.06, True)):
        live = _firing(graph, share + aside)
        changed, found = dense_gates(graph, GateCosts("tinygen", ISA, live=live))
        assert found[1].all_computed == whole and found[1].live == pytest.approx(64 * (share + aside), abs=1)
        assert ("conv1" in {node.op.name for node in gated_nodes(changed)}) != whole
        assert found[1].dense is not None and (found[1].gated > found[1].dense) == whole
        _same(changed, graph)


def test_kernels_are_there() -> None:
    """For what stands for a layer."""
    for method in (Method(Fraction(3, 4)), Method(Fraction(3, 4), predictor=True), DYNAMIC):
        for isa in (ISA, SCALAR):
            changed, _ = dense_gates(_network(method), GateCosts("tinygen", isa, Gates.NEVER))
            families = {
                choose(node, "tinygen", isa).kernel.family for node in changed.nodes() if node.op.name == "conv1"
            }
            assert families == {"tinygen"}


def test_decided_with_the_scratch_that_there_is() -> None:
    """Plans whose cycles decide are those that lowering takes."""
    for density in (Fraction(1), Fraction(3, 4)):
        graph = _network(Method(density), WIDE)
        for gates in (Gates.ALWAYS, Gates.NEVER):
            changed, found = dense_gates(graph, GateCosts("tinygen", ISA, gates))
            program = lower(changed, isa=ISA, prefer=None)
            (step,) = (step for step in program.steps if step.node.op.name == "conv1")
            cost = found[1].gated if gates is Gates.ALWAYS else found[1].dense
            assert cost is not None and step.plan.cycles == pytest.approx(cost, rel=0.03)


def test_random_codes_reach_all_kinds() -> None:
    """The feeds of `_same` are of the image: other lists for other images."""
    graph = _network(DYNAMIC)
    image = graph.tensors["image"]
    rng = np.random.default_rng(1)
    feeds = [[random_codes(image.encoding, image.shape, rng)] for _ in range(4)]
    assert len({evaluate_all(graph, feed)["conv1_live"].tobytes() for feed in feeds}) > 1
