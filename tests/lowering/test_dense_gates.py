"""Gates that save nothing: all channels are computed, and the same codes come of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.support.gated import Gated, feeds_of, gated_conv
from tests.support.integer_layers import random_codes
from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.lowering import dense_gates as module
from tinygen.lowering.dense_gates import dense_gates
from tinygen.lowering.select import choose

ISA = ("c99", "dsp", "dual-issue")
LAYERS = (ConvLayer(32), ConvLayer(32))


def _network(density: Fraction, *, predictor: bool = False) -> Graph:
    return gated_network("gates", LAYERS, (8, 8, 4), Method(density, predictor=predictor))


def test_only_what_saves_nothing() -> None:
    """Masks that keep all of 32 channels become plain layers; a quarter of them stays gated."""
    changed, found = dense_gates(_network(Fraction(1), predictor=True), "tinygen", ISA)
    assert [gate.name for gate in found] == ["conv0", "conv1"] and all(gate.gated > gate.dense for gate in found)
    assert str(found[1]).startswith("conv1: its gate keeps 32 of 32 channels, which takes about 1.")
    assert sum(isinstance(op, IntegerConv2D) for op in changed.ops) == 2
    assert not any(isinstance(op, GatherConv2D) for op in changed.ops)
    quarter = _network(Fraction(1, 4), predictor=True)
    assert dense_gates(quarter, "tinygen", ISA) == (quarter, ())
    whole = _network(Fraction(1), predictor=True)
    assert dense_gates(whole, "reference", ISA) == (whole, ())


def test_factors_want_the_gathering_kernel() -> None:
    """Dense kernels do not know what multiplies epilogues: with it, all channels cost no less than the live ones."""
    whole = _network(Fraction(1))
    assert dense_gates(whole, "tinygen", ISA) == (whole, ())


@pytest.fixture
def every_gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever it costs."""

    class Free:
        fastest = type("Plan", (), {"cycles": 0.0})

    class Dear:
        fastest = type("Plan", (), {"cycles": 1.0})

    def cost(node: object, *_: object) -> object:
        op = node.op  # type: ignore[attr-defined]
        return Dear if isinstance(op, GatherConv2D) and len(op.inputs) > 3 and op.inputs[3] else Free

    monkeypatch.setattr(module, "choose", cost)
    yield


def test_same_codes(every_gate: None) -> None:
    """Of no, some and all live inputs and outputs, ties included; lists and live channels keep their names."""
    rng = np.random.default_rng(3)
    for number in range(12):
        live = (int(rng.integers(0, 8)), int(rng.integers(1, 10)))
        spec = Gated(name="g", image=(5, 4, 7), filters=9, live=live, gamma=number % 3 > 0, biased=number % 2 > 0)
        graph = gated_conv(replace(spec, seed=number))
        changed, found = dense_gates(graph, "tinygen", ISA)
        assert len(found) == 1 and changed.outputs == graph.outputs
        for feed in feeds_of(graph, rng):
            for one, wanted in zip(evaluate(changed, feed), evaluate(graph, feed), strict=True):
                np.testing.assert_array_equal(one, wanted)


def test_networks(every_gate: None) -> None:
    for predictor in (False, True):
        graph = _network(Fraction(1, 2), predictor=predictor)
        changed, found = dense_gates(graph, "tinygen", ISA)
        assert len(found) == 2
        image = graph.tensors["image"]
        feed = [random_codes(image.encoding, image.shape, np.random.default_rng(1))]
        got, wanted = evaluate_all(changed, feed), evaluate_all(graph, feed)
        for name in wanted:
            np.testing.assert_array_equal(got[name], wanted[name])


def test_kernels_are_there() -> None:
    """For what stands for a layer."""
    changed, _ = dense_gates(_network(Fraction(1), predictor=True), "tinygen", ISA)
    families = {choose(node, "tinygen", ISA).kernel.family for node in changed.nodes() if node.op.name == "conv1"}
    assert families == {"tinygen"}
