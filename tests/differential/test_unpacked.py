"""Weights of less than 8 bits on cores without SIMD: every code, every plan, shapes that are hard for them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.differential.test_coded import CONVOLUTIONS, DENSE, VALUES, recoded
from tests.differential.test_scalar import BUILDS, ESP32C3, ISA, M0PLUS, check, check_layers
from tests.differential.test_tuned import DEPTHWISE, window
from tests.support import integer_layers as layers
from tests.support.integer_layers import OUTPUTS, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants, tuned
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Codebook, IntegerEncoding, PowerOfTwo
from tinygen.lowering.select import choose
from tinygen.targets.board import Board

PART = "packed_scalar"
CORES = [(core, core.isa) for core in (ESP32C3, M0PLUS)]


def wide_book(entries: int, top: int = 3000) -> Codebook:
    """Values beyond a byte, the largest and the least among them."""
    drawn = np.random.default_rng(entries).choice(np.arange(-top, top), entries, replace=False)
    return Codebook(layers.ONE, table=tuple(sorted({-top, top, *drawn[2:].tolist()})))


def beyond_a_byte(bits: int) -> Codebook:
    """Values on a grid from 100 on, which are no bytes."""
    return Codebook(layers.ONE, table=tuple(range(100, 100 + (255 >> bits) * ((1 << bits) - 1) + 1, 255 >> bits)))


WEIGHTS: tuple[IntegerEncoding, ...] = (
    *(wide_book(entries) for entries in (2, 4, 7, 16, 17, 33, 100, 200)),
    *(beyond_a_byte(bits) for bits in (1, 3, 5, 7)),
    layers.codebook(16),
    layers.codebook(40),
    PowerOfTwo(layers.ONE, exponents=9),
    levels(5, True),
    levels(6),
    levels(7, True),
)
ACTIVATIONS: tuple[IntegerEncoding, ...] = (
    affine(-128),
    levels(8),
    layers.POWERS,
    Affine("int16", layers.ONE, (0,)),
    levels(3, True),
    layers.BINARY,
    affine(17),
)
# Groups, channels of each, filters of each.
GROUPS = ((1, 5, 6), (1, 9, 4), (2, 3, 3), (1, 8, 9), (3, 4, 5), (1, 2, 1))


def integer_layers(seed: int) -> list[Layer]:
    """Convolutions with every code, one group and several, and dense layers of one row and several."""
    found: list[Layer] = []
    for i, w in enumerate(WEIGHTS):
        x = ACTIVATIONS[(i + seed) % len(ACTIVATIONS)]
        kind: dict[str, Any] = {"x": x, "w": w, "y": OUTPUTS[(3 * i + seed) % len(OUTPUTS)], "seed": i + seed}
        groups, channels, filters = (1, 9, 7) if x == layers.BINARY else GROUPS[(i + seed) % len(GROUPS)]
        window = (4 + i % 3, 5, groups * channels), groups * filters, ((3, 3), (1, 1), (2, 3))[i % 3]
        source = (33,) if x == layers.BINARY else ((7 + 5 * i,), (5, 11))[i % 2]
        for make in (
            partial(layers.conv, f"u{i}", *window, same=i % 2 == 0, groups=groups),
            partial(layers.dense, f"v{i}", source, 1 + i % 9),
        ):
            with suppress(UnsupportedError):  # sums beyond 32 bits
                found.append(make(**kind))
    return [one for one in found if _matches(one)]


def _matches(layer: Layer, part: str = PART, isa: tuple[str, ...] = ISA) -> bool:
    node = layer.graph.node(layer.graph.ops[0])
    return any(part in choice.kernel.name for choice in tuned(node, part, isa))


@one_in(3)
def test_int8_layers(every: int) -> None:
    """Each code of weights on one of the shapes of each kind, some in groups."""
    shapes = [*CONVOLUTIONS, window((5, 6), 6, 10, (3, 3), groups=2, batch=2)]
    cases = [recoded(shapes[i % len(shapes)], name) for i, name in enumerate(VALUES)]
    cases += [recoded(DENSE[i % len(DENSE)], name) for i, name in enumerate(VALUES)]
    assert check(cases[::every], most=2, part=PART, cores=CORES, in_turn=True) >= len(cases) // every


@one_in(3)
def test_integer_layers(every: int) -> None:
    found = integer_layers(0)
    assert len(found) >= 30
    assert check_layers(found[::every], most=2, part=PART, cores=CORES, in_turn=True) >= len(found) // every


def depthwise_layers(seed: int) -> list[Layer]:
    """Filters of one kernel each, which are all unpacked at once."""
    found: list[Layer] = []
    for i, w in enumerate((*WEIGHTS, levels(8, True), levels(8))):
        channels = 5 + 7 * (i % 5)
        found.append(
            layers.conv(
                f"d{i}",
                (5 + i % 2, 6, channels),
                channels * (1 + i % 2),
                ((3, 3), (2, 5), (4, 4))[i % 3],
                groups=channels,
                x=ACTIVATIONS[:3][(i + seed) % 3],
                w=w,
                y=OUTPUTS[(3 * i + seed) % len(OUTPUTS)],
                seed=i,
            )
        )
    return found


@one_in(5)
def test_depthwise_layers(every: int) -> None:
    """In cores with SIMD, too."""
    cases = [recoded(DEPTHWISE[i % len(DEPTHWISE)], name) for i, name in enumerate(VALUES)]
    cases += [(layer.graph, layer.feeds) for layer in depthwise_layers(0)]
    assert check(cases[::every], part="_unpacked", cores=CORES, in_turn=True) >= 0.8 * len(cases) // every
    graphs = [replace(graph, name=f"d{i}") for i, (graph, _) in enumerate(cases[1::every])]
    feeds = [feeds for _, feeds in cases[1::every]]
    assert check_variants(graphs, feeds, part="_unpacked", in_turn=True) >= 0.8 * len(cases) // every


def dense_of_halves() -> list[Layer]:
    """Values beyond a byte, for cores with SIMD: one row and several, outputs in fours and not."""
    found: list[Layer] = []
    for i, w in enumerate(WEIGHTS):
        x = ACTIVATIONS[i % len(ACTIVATIONS)]
        source = (33,) if x == layers.BINARY else ((2, 40), (7 + 5 * i,), (3, 16))[i % 3]
        with suppress(UnsupportedError):  # sums beyond 32 bits
            found.append(
                layers.dense(f"p{i}", source, 1 + 3 * (i % 4), x=x, w=w, y=OUTPUTS[3 * i % len(OUTPUTS)], seed=i)
            )
    return [one for one in found if _matches(one, "packed_pairs", DSP)]


@one_in(3)
def test_dense_layers_of_halves(every: int) -> None:
    found = dense_of_halves()
    assert len(found) >= 10
    graphs, feeds = [one.graph for one in found][::every], [one.feeds for one in found][::every]
    assert check_variants(graphs, feeds, part="packed_pairs", in_turn=True) >= len(graphs)


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "core"), BUILDS)
def test_by_compilers(compiler: str, core: Board) -> None:
    cases = [
        recoded(shape, name) for shape, name in product((CONVOLUTIONS[0], DENSE[0]), ("w2 levels", "w7", "c3", "c4"))
    ]
    how: dict[str, Any] = {"compiler": compiler, "cores": [(core, core.isa)], "host": False, "part": PART, "most": 2}
    check(cases, **how)
    check_layers(integer_layers(1), **how)
    check_layers(depthwise_layers(1), **how | {"part": "_unpacked"})


def _chosen(image: tuple[int, int, int], kernel: tuple[int, int], w: IntegerEncoding) -> str:
    graph = layers.conv("layer", image, 32, kernel, w=w, x=affine(-128), y=layers.INT32).graph
    # Without an epilogue whose falling channels negate weights, and so have values of their own.
    op = replace(graph.ops[0], epilogue=None)  # type: ignore[call-arg]
    return choose(replace(graph, ops=(op,)).node(op), "compact", ISA).kernel.name


def test_chosen_where_it_costs_little() -> None:
    """With 64 pixels that a weight is unpacked for, not with four."""
    for w in WEIGHTS:
        assert _chosen((8, 8, 32), (3, 3), w) == "conv_2d_packed_scalar", w
        assert "packed_scalar" not in _chosen((2, 2, 32), (1, 1), w), w
