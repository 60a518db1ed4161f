"""Dense layers of any encodings: products of pairs of int16, and codes that a table makes bytes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.differential.test_widened import ACTIVATIONS, BOOKS, SMALL, WEIGHTS
from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M7
from tests.support.integer_layers import BINARY, INT8, INT32, OUTPUTS, Layer, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Codebook, IntegerEncoding, PowerOfTwo
from tinygen.lowering.kernels.dense.fully_connected_pairs_dsp import fully_connected_pairs_dsp
from tinygen.lowering.select import choose

INPUTS = (*ACTIVATIONS, PowerOfTwo(layers.ONE, exponents=7), levels(7, True))
EVEN = Codebook(layers.ONE, table=tuple(range(-700, 400, 5)))
"""Steps of 5: a byte each, and what they have in common."""
FOR_DENSE = (*WEIGHTS, levels(8, True), EVEN)
_MAGNITUDES = (1, 9, 40, 120, 300, 700, 1500, 3000)
OPPOSITES = Codebook(layers.ONE, table=(*(-value for value in reversed(_MAGNITUDES)), *_MAGNITUDES))
"""Sixteen values, also where channels have their weights negated."""
SHAPES = ((1,), (37,), (64,), (2, 3, 5), (3, 1, 33), (2, 2, 8), (130,))


def _weights(i: int, seed: int) -> IntegerEncoding:
    return FOR_DENSE[(4 * i + i // len(FOR_DENSE) + seed) % len(FOR_DENSE)]


def dense_layers(count: int, seed: int) -> list[Layer]:
    """Encodings and shapes in turn: whole and broken words, pixels of bits."""
    rng = np.random.default_rng(seed)
    return [
        layers.dense(
            f"f{seed}_{i}",
            SHAPES[i % len(SHAPES)],
            int(rng.choice([1, 3, 4, 9, 23, 34])),
            x=INPUTS[(i + seed) % len(INPUTS)],
            w=_weights(i, seed),
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))] if i % 3 else BINARY,
            scaled=i % 9 == 0 and not isinstance(_weights(i, seed), Codebook),
            seed=i,
        )
        for i in range(count)
    ]


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], most=3, **options)  # type: ignore[arg-type]


@one_in(3)
def test_dense(every: int) -> None:
    assert _check(dense_layers(40, 1)[::every], in_turn=True) >= 40 // every


@pytest.mark.parametrize("part", ["connected_pairs", "table"])
def test_many_outputs(part: str) -> None:
    """Eight, five or four at a time, and what is left of them; weights of 16 bits, of bytes, by index."""
    kinds = ((INT8, OPPOSITES, 23), (PowerOfTwo(layers.ONE, exponents=7), SMALL, 34), (BINARY, OPPOSITES, 21))
    ends = (levels(7), BINARY, INT32)
    found = [
        layers.dense(f"m{i}", (37 + 8 * i,), outputs, x=x, w=w, y=y, seed=i)
        for i, ((x, w, outputs), y) in enumerate(zip(kinds, ends, strict=True))
    ]
    _check(found, part=part, host=False)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    cores = ((M7, (*DSP, "dual-issue")), (M4, DSP))
    _check(dense_layers(16, 2), host=False, compiler="gcc", cores=cores, in_turn=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 6))
def test_many(seed: int) -> None:
    _check(dense_layers(80, seed), in_turn=True, turns=2)


@pytest.mark.parametrize(("w", "grid"), [(levels(8, True), (2, 1)), (EVEN, (5, -150)), (INT8, None)])
def test_evenly_spread_weights_take_a_byte(w: IntegerEncoding, grid: tuple[int, int] | None) -> None:
    layer = layers.dense("one", (64,), 64, x=levels(8, False), w=w, y=INT32)
    plan = fully_connected_pairs_dsp(layer.graph.node(layer.graph.ops[0]))
    assert plan is not None
    assert plan.constants[0].data.nbytes == 64 * 64
    assert plan.context["grid"] == (grid and {"step": grid[0], "middle": grid[1]})


def test_wide_activations_times_bytes() -> None:
    """Sums reach for 31 bits, but none of a row's weights: parts of them fit, and are right."""
    x = Codebook(layers.ONE, table=(0, 181, 9000, 32767))
    layer = layers.dense("wide", (256,), 6, x=x, w=levels(8, True), y=INT32)
    plan = fully_connected_pairs_dsp(layer.graph.node(layer.graph.ops[0]))
    assert plan is not None and plan.context["grid"] == {"step": 2, "middle": 1}
    _check([layer], part="pairs", cores=((M7, (*DSP, "dual-issue")),))


@pytest.mark.parametrize("x", INPUTS, ids=str)
@pytest.mark.parametrize("w", [*WEIGHTS, BOOKS[0]], ids=str)
def test_no_pair_is_plain(x: IntegerEncoding, w: IntegerEncoding) -> None:
    layer = layers.dense("one", (2, 3, 5), 5, x=x, w=w, y=INT32)
    assert choose(layer.graph.node(layer.graph.ops[0]), "tinygen", DSP).kernel.family == "tinygen"
