"""Gates that cost more than they save are named."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.lowering.gating import gate_costs, gate_notes
from tinygen.lowering.select import choose

LAYERS = (ConvLayer(64), ConvLayer(64))
ISA = ("c99", "dsp", "dual-issue")


def test_costs_fall_with_the_density() -> None:
    """Of what suite `gated` measures on the M7 with gcc the estimates are up to a fifth too low, and never too high."""
    shares = []
    for quarters in (4, 3, 2, 1):
        graph = gated_network("gates", LAYERS, (16, 16, 4), Method(Fraction(quarters, 4)))
        costs = {cost.name: cost for cost in gate_costs(graph, ISA)}
        assert set(costs) == {"conv0", "conv1"}
        shares.append(costs["conv1"].gated / costs["conv1"].dense)
    for share, measured in zip(shares, (1.228, 0.709, 0.330, 0.086), strict=True):
        assert 0.8 * measured <= share <= measured


def test_the_dense_layer_is_the_one_without_gates() -> None:
    whole = gated_network("plain", LAYERS, (16, 16, 4), Method())
    (dense,) = (node for node in whole.nodes() if isinstance(node.op, IntegerConv2D) and node.op.name == "conv1")
    gated = gated_network("gates", LAYERS, (16, 16, 4), Method(Fraction(1, 2)))
    cost = next(cost for cost in gate_costs(gated, ISA) if cost.name == "conv1")
    assert cost.dense == pytest.approx(choose(dense, "tinygen", ISA).fastest.cycles, rel=0.02)


def test_notes() -> None:
    """Of 8 channels on few pixels nothing can be saved; a quarter of 64 pays; experts have nothing to compare with."""
    small = gated_network("small", (ConvLayer(8),) * 2, (4, 4, 4), Method(Fraction(1)))
    assert gate_notes(small, ISA)[1].startswith("conv1: its gate keeps 8 of 8 channels, and takes about ")
    large = gated_network("large", LAYERS, (16, 16, 4), Method(Fraction(1, 4)))
    assert not [note for note in gate_notes(large, ISA) if note.startswith("conv1")]
    assert not gate_notes(gated_network("mixed", LAYERS, (4, 4, 4), Method(Fraction(1), 2)), ISA)
