"""Dense layers of few bits on cores without SIMD, two outputs in a product: codes, shapes, sums at their bound."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.differential.test_coded import DENSE, VALUES, recoded
from tests.differential.test_scalar import BUILDS, ESP32C3, ISA, M0PLUS, check, check_layers
from tests.support import integer_layers as layers
from tests.support.integer_layers import INT32, OUTPUTS, POWERS, TERNARY, Layer, affine, levels
from tests.support.variants import tuned
from tinygen.lowering.kernels.dense import fully_connected_two_outputs
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.select import choose
from tinygen.targets.board import Board

PART = "two_outputs"
CORES = [(core, core.isa) for core in (ESP32C3, M0PLUS)]
ACTIVATIONS = (affine(-128), levels(8), levels(3, True), levels(4), layers.BINARY, TERNARY, affine(17), POWERS)
WEIGHTS = (*(levels(bits, True) for bits in range(2, 6)), layers.BINARY, TERNARY, levels(3), levels(5))


def dense_layers(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        layers.dense(
            f"t{seed}_{i}",
            (3, 2, 5) if i % 5 == 4 else (int(rng.integers(1, 90)),),
            int(rng.choice([1, 3, 4, 9, 34])),
            x=ACTIVATIONS[i % len(ACTIVATIONS)],
            w=WEIGHTS[(i + seed) % len(WEIGHTS)],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            seed=i,
        )
        for i in range(count)
    ]


def _plan_of(layer: Layer) -> KernelPlan | None:
    found = tuned(layer.graph.node(layer.graph.ops[0]), PART, ISA)
    return next((choice.fastest for choice in found if PART in choice.kernel.name), None)


def test_dense_layers() -> None:
    few = [name for name in VALUES if name[:2] in ("w1", "w2", "w3", "w4", "w5")]
    cases = [recoded(DENSE[i % len(DENSE)], name) for i, name in enumerate(few)]
    cases += [(layer.graph, layer.feeds) for layer in dense_layers(12, 1)]
    bits = layers.dense("bits", (3, 2, 5), 6, x=layers.BINARY, w=TERNARY, y=OUTPUTS[0])
    cases = [*cases[::2], (bits.graph, bits.feeds)]
    assert check(cases, part=PART, cores=CORES, in_turn=True) >= len(cases)


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "core"), BUILDS)
def test_by_compilers(compiler: str, core: Board) -> None:
    check_layers(dense_layers(24, 2), part=PART, compiler=compiler, cores=[(core, core.isa)], host=False)


def _full(taps: int) -> Layer:
    """Outputs whose codes are all 15, next to one of all codes; all activations -128, or 127."""
    layer = layers.dense("full", (taps,), 3, x=affine(0), w=levels(4), y=INT32)
    weights = np.full((3, taps), 15, np.uint8)
    weights[1] = np.arange(taps) % 16
    tensors = {**layer.graph.tensors, "w": replace(layer.graph.tensors["w"], data=weights)}
    ops = (replace(layer.graph.ops[0], epilogue=None),)  # type: ignore[call-arg]
    graph = replace(layer.graph, tensors=tensors, ops=ops)
    return Layer(graph, [[np.full((1, taps), -128, np.int8)], [np.full((1, taps), 127, np.int8)]])


def test_sums_at_their_bound() -> None:
    """16 taps are 30,720, a word more is too much for 16 bits."""
    layer = _full(40)
    plan = _plan_of(layer)
    assert plan is not None and plan.context["together"] == 4
    check_layers([layer], part=PART, cores=CORES[:1])
    with patch.object(fully_connected_two_outputs, "_LARGEST_SUM", 20 * 15 * 128):
        plan = _plan_of(layer)
        assert plan is not None and plan.context["together"] == 5
        with pytest.raises(AssertionError, match="differ"):
            check_layers([layer], part=PART, cores=())


def test_it_is_chosen() -> None:
    for w in (levels(3, True), levels(4, True), levels(5, True)):
        graph = layers.dense("chosen", (256,), 64, x=affine(-128), w=w, y=affine(3)).graph
        for core in (ESP32C3, M0PLUS):
            found = choose(graph.node(graph.ops[0]), "compact", core.isa)
            assert found.kernel.name == "fully_connected_two_outputs", w
