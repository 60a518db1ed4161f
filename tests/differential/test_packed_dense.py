"""Dense layers of few bits, four products in one multiplication: encodings, shapes, sums at their bound."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M4_SOFT, M7
from tests.support.integer_layers import BINARY, INT32, OUTPUTS, TERNARY, Layer, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants, tuned
from tinygen.lowering.kernels.dense import packed_dense
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.select import choose

PART = "packed_bytes"
ACTIVATIONS = (levels(2), levels(3), levels(4), levels(2, True), levels(4, True))
WEIGHTS = (BINARY, levels(2, True), TERNARY, levels(2), levels(3, True))
DUAL = (*DSP, "dual-issue")
CORES = ((M7, DUAL), (M4, DSP), (M4_SOFT, DSP))


def drawn(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    found = [
        layers.dense(
            f"b{seed}_{i}",
            (3, 2, 8) if i % 5 == 4 else (int(rng.integers(1, 200)),),
            int(rng.choice([1, 2, 5, 16, 33])),
            x=ACTIVATIONS[i % len(ACTIVATIONS)],
            w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            shared=bool(rng.random() < 0.3),
            seed=i,
        )
        for i in range(count)
    ]
    return [layer for layer in found if plan_of(layer)]


def plan_of(layer: Layer) -> KernelPlan | None:
    choices = tuned(layer.graph.node(layer.graph.ops[0]), PART)
    return next((choice.fastest for choice in choices if PART in choice.kernel.name), None)


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], part=PART, **options)  # type: ignore[arg-type]


@one_in(3)
def test_drawn_layers(every: int) -> None:
    found = drawn(24, 1)[::every]
    assert len(found) >= 18 // every
    _check(found, in_turn=True)


@pytest.mark.long
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_many_drawn_layers(compiler: str) -> None:
    _check(drawn(48, 2), cores=CORES, in_turn=True, compiler=compiler)


def _longest(total: int) -> Layer:
    """32 taps whose weights' codes sum up to `total`, times the largest activations, 3."""
    layer = layers.dense("longest", (32,), 2, x=levels(2), w=levels(2), y=INT32)
    weights = np.zeros((2, 32), np.uint8)
    weights[0] = np.repeat([3, total - 84, 0], [28, 1, 3])
    weights[1, 0] = 1
    tensors = {**layer.graph.tensors, "w": replace(layer.graph.tensors["w"], data=weights)}
    feeds = [[np.full((1, 32), 3, np.uint8)]]
    return Layer(replace(layer.graph, tensors=tensors), feeds)


def _products(layer: Layer) -> int:
    plan = plan_of(layer)
    assert plan is not None
    return int(plan.context["products"])


def test_as_many_products_as_a_byte_holds() -> None:
    """85 x 3 = 255."""
    assert _products(_longest(85)) == 8
    _check([_longest(85)])


def test_one_more_is_wrong() -> None:
    """86 x 3 = 258: fewer products are added up; else the sum would be wrong."""
    assert _products(_longest(86)) == 4
    with patch.object(packed_dense, "_BYTE", 258):
        assert _products(_longest(86)) == 8
        for options in ({"cores": ()}, {"host": False, "cores": CORES[:1]}):
            with pytest.raises(AssertionError, match="differ"):
                _check([_longest(86)], **options)


def test_it_is_chosen() -> None:
    for x, w in ((levels(2), levels(2, True)), (levels(4), BINARY), (levels(2, True), TERNARY)):
        graph = layers.dense("chosen", (256,), 64, x=x, w=w, y=x).graph
        for isa in (DSP, DUAL):
            found = choose(graph.node(graph.ops[0]), "compact", isa)
            assert found.kernel.name == "fully_connected_packed_bytes"
