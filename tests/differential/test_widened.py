"""Layers whose activations are widened pixel by pixel, or whose weights take 16 bits: groups, odd channels, tables."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M7
from tests.support.integer_layers import BINARY, INT8, INT32, OUTPUTS, TERNARY, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Affine, Codebook, IntegerEncoding, PowerOfTwo
from tinygen.lowering.select import choose

UNSORTED = Codebook(layers.ONE, table=(900, -31, 7, 411, -1200))


def wide_book(entries: int, top: int = 3000) -> Codebook:
    table = np.random.default_rng(entries).choice(np.arange(-top, top), entries, replace=False)
    return Codebook(layers.ONE, table=tuple(sorted(table.tolist())))


SMALL = PowerOfTwo(layers.ONE, exponents=4)
ACTIVATIONS: tuple[IntegerEncoding, ...] = (
    BINARY,
    PowerOfTwo(layers.ONE, exponents=8),
    UNSORTED,
    affine(5),
    levels(4),
    levels(3, True),
    TERNARY,
    levels(8),
)
BOOKS = [wide_book(entries) for entries in (16, 20, 33, 100, 200)]
"""Of 4 to 8 bits."""
WEIGHTS: tuple[IntegerEncoding, ...] = (INT8, levels(2, True), *BOOKS, TERNARY, SMALL)
# Groups, channels of each, filters of each: depth-wise ones are test_depthwise_integer's.
GROUPS = ((1, 5, 6), (1, 33, 4), (2, 3, 3), (3, 4, 4), (2, 8, 5), (1, 8, 3), (1, 1, 7), (2, 17, 2))


def convolutions(count: int, seed: int) -> list[Layer]:
    """Encodings and groups in turn; windows that rows can be taken from, and others."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        groups, channels, filters = GROUPS[i % len(GROUPS)]
        kernel = ((3, 3), (1, 1), (2, 3), (1, 4))[i % 3 if i % 5 else 3]
        found.append(
            layers.conv(
                f"w{seed}_{i}",
                (int(rng.integers(3, 6)), int(rng.integers(4, 7)), groups * channels),
                groups * filters,
                kernel,
                x=ACTIVATIONS[(i + i // len(GROUPS) + seed) % len(ACTIVATIONS)],
                w=WEIGHTS[(4 * i + seed) % len(WEIGHTS)],
                y=OUTPUTS[int(rng.integers(len(OUTPUTS)))] if i % 3 else BINARY,
                stride=(1, int(rng.integers(1, 3))),
                dilation=(1, 2) if i % 7 == 6 else (1, 1),
                same=bool(rng.random() < 0.7),
                groups=groups,
                seed=i,
            )
        )
    return found


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], most=2, **options)  # type: ignore[arg-type]


@one_in(3)
def test_convolutions(every: int) -> None:
    assert _check(convolutions(32, 1)[::every], in_turn=True) >= 32 // every


def test_weights_in_steps() -> None:
    """Bytes that stand for weights in steps of 2 and of 5, in windows and rows, with pixels and filters left over."""
    even = Codebook(layers.ONE, table=tuple(range(-700, 400, 5)))
    found = [
        layers.conv("st", (4, 5, 8), 6, (3, 3), x=affine(5), w=levels(8, True), y=levels(4)),
        layers.conv("su", (5, 3, 13), 7, (1, 1), x=BINARY, w=levels(8, True), y=BINARY),
        layers.conv("sv", (3, 5, 14), 6, (2, 3), x=levels(4), w=even, y=INT32, groups=2),
    ]
    assert check_variants([one.graph for one in found], [one.feeds for one in found], most=2, part="packed_dsp") > 3


HALF = Affine("int16", layers.ONE, (0,))
FEW = Codebook(layers.ONE, table=(-300, 7, 250))
SMALL_WEIGHTS = (INT8, levels(2, True), levels(4, True), TERNARY, BINARY, SMALL, FEW)


def halves(count: int, seed: int) -> list[Layer]:
    """Layers that follow an average pool, whose sums fit 32 bits whatever it gives: convolutions and dense ones."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        groups, channels, filters = GROUPS[i % len(GROUPS)]
        w, y = SMALL_WEIGHTS[i % len(SMALL_WEIGHTS)], OUTPUTS[int(rng.integers(len(OUTPUTS)))]
        if i % 5 == 3:
            found.append(layers.dense(f"h{seed}_{i}", (channels + i % 7,), filters, x=HALF, w=w, y=y, seed=i))
            continue
        found.append(
            layers.conv(
                f"h{seed}_{i}",
                (int(rng.integers(3, 6)), int(rng.integers(4, 7)), groups * channels),
                groups * filters,
                ((1, 1), (2, 2), (2, 3))[i % 3],
                x=HALF,
                w=w,
                y=y,
                same=i % 5 > 0,
                groups=groups,
                seed=i,
            )
        )
    return found


@one_in(3)
def test_behind_an_average_pool(every: int) -> None:
    found = halves(28, 1)[::every]
    assert _check(found, in_turn=True) >= len(found)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_many_behind_an_average_pool() -> None:
    _check(halves(84, 2), in_turn=True, turns=2)
    cores = ((M7, (*DSP, "dual-issue")), (M4, DSP))
    _check(halves(28, 3), host=False, compiler="gcc", cores=cores, in_turn=True)


def test_nothing_behind_an_average_pool_is_plain() -> None:
    for layer in halves(28, 4):
        assert choose(layer.graph.node(layer.graph.ops[0]), "compact", DSP).kernel.family == "tinygen"


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    _check(
        convolutions(16, 2),
        host=False,
        compiler="gcc",
        cores=((M7, (*DSP, "dual-issue")), (M4, DSP)),
        in_turn=True,
    )


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 6))
def test_many_convolutions(seed: int) -> None:
    _check(convolutions(64, seed), in_turn=True, turns=2)


@pytest.mark.parametrize("x", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("w", WEIGHTS, ids=str)
def test_no_pair_is_plain(x: IntegerEncoding, w: IntegerEncoding) -> None:
    for groups, kernel in ((1, (3, 3)), (2, (3, 3)), (1, (1, 1))):
        layer = layers.conv("one", (5, 5, 10), 6, kernel, x=x, w=w, y=INT32, groups=groups)
        assert choose(layer.graph.node(layer.graph.ops[0]), "tinygen", DSP).kernel.family == "tinygen"
