"""Gates that cost more than they save are named."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest

from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.lowering.gating import GateCost, gate_costs, gate_notes
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Program
from tinygen.lowering.select import choose
from tinygen.passes.pipeline import simplify

LAYERS = (ConvLayer(64), ConvLayer(64))
ISA = ("c99", "dsp", "dual-issue")


@cache
def _lowered(layers: tuple[ConvLayer, ...], side: int, method: Method) -> Program:
    return lower(simplify(gated_network("gates", layers, (side, side, 4), method)), isa=ISA)


def _second(side: int, density: Fraction) -> GateCost:
    """Of the layer whose inputs are gated, too."""
    costs = {cost.name: cost for cost in gate_costs(_lowered(LAYERS, side, Method(density)))}
    assert set(costs) == {"conv0", "conv1"}
    return costs["conv1"]


@pytest.mark.parametrize(
    ("side", "quarters", "measured"), [(8, 4, 1.415), (8, 3, 0.819), (16, 2, 0.330), (16, 1, 0.086)]
)
def test_costs_are_those_of_the_bench(side: int, quarters: int, measured: float) -> None:
    """What suite `gated` measures on the M7 with gcc."""
    cost = _second(side, Fraction(quarters, 4))
    assert cost.gated / cost.dense == pytest.approx(measured, rel=0.08)


def test_the_dense_layer_is_the_one_without_gates() -> None:
    whole = gated_network("plain", LAYERS, (16, 16, 4), Method())
    (dense,) = (node for node in whole.nodes() if isinstance(node.op, IntegerConv2D) and node.op.name == "conv1")
    assert _second(16, Fraction(1, 2)).dense == pytest.approx(choose(dense, "tinygen", ISA).fastest.cycles, rel=0.1)


def test_notes() -> None:
    """Of 8 channels on few pixels nothing can be saved; a quarter of 64 pays; experts have nothing to compare with."""
    small = _lowered((ConvLayer(8),) * 2, 4, Method(Fraction(1)))
    assert gate_notes(small)[1].startswith("conv1: its gate keeps 8 of 8 channels, and takes about ")
    large = _lowered(LAYERS, 16, Method(Fraction(1, 4)))
    assert not [note for note in gate_notes(large) if note.startswith("conv1")]
    assert not gate_notes(_lowered((ConvLayer(8),) * 2, 4, Method(Fraction(1), 2)))
