"""Thresholds that lie as powers of two do: what is fitted is right on every accumulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.integer_layers import Layer, affine, levels
from tests.support.variants import check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import PowerOfTwo
from tinygen.ir.epilogue import Threshold
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.kernels.support.epilogues.octaves import Octaves, fit_octaves

REACH = 3000
SHAPES = ((2, 9.0), (2, 9.0), (2, 9.0), (2, 9.0), (1, 1.8), (1, 900.0))
"""Of layers whose outputs are powers: codes an octave, and the first threshold."""


def powers(rng: np.random.Generator, count: int, each: int) -> list[int]:
    """Rising thresholds from a random beginning, rounded as a quantizer's are."""
    ratio = 2.0 ** (1 / each)
    first = rng.uniform(2, 1500 / ratio**count)
    return np.round(rng.uniform(-800, 800) + first * ratio ** np.arange(count)).astype(int).tolist()


def codes(found: Octaves, channel: int, x: np.ndarray) -> np.ndarray:
    """The formula, as the C has it."""
    v = found.offset[channel] + ((x << found.up) * found.multiplier[channel] >> 32)
    v = np.clip(v, 0, 2**found.bits - 1) | ((1 << found.least) - 1)
    first = found.each * (np.floor(np.log2(v)).astype(int) + 1 - found.least)
    row = found.thresholds[channel]
    return first + sum((x >= row[first + i]).astype(int) for i in range(found.each))


@pytest.mark.parametrize(("count", "each"), [(7, 1), (8, 1), (10, 2), (15, 2), (4, 1)])
def test_every_accumulator(count: int, each: int) -> None:
    rng = np.random.default_rng([count, each])
    x = np.arange(-REACH, REACH + 1)
    fitted = 0
    for _ in range(20):
        rows = [powers(rng, count, each) for _ in range(3)] + [[2**31 - 1] * count, [-(2**31)] * count]
        ends = np.full(5, REACH)
        found = fit_octaves(np.array(rows), -ends, ends)
        if found is not None:
            fitted += 1
            for channel, row in enumerate(rows):
                assert np.array_equal(codes(found, channel, x), Threshold((tuple(row),)).apply(x[:, None])[:, 0])
    assert fitted >= 5


def test_moved_thresholds() -> None:
    """Whatever moves: it is refused, or right."""
    rng = np.random.default_rng(5)
    x, refused = np.arange(-REACH, REACH + 1), 0
    for _ in range(200):
        row = powers(rng, 7, 1)
        at = int(rng.integers(7))
        row = sorted([*row[:at], row[at] + int(rng.integers(-1500, 1500)), *row[at + 1 :]])
        found = fit_octaves(np.array([row]), np.array([-REACH]), np.array([REACH]))
        refused += found is None
        if found is not None:
            assert np.array_equal(codes(found, 0, x), Threshold((tuple(row),)).apply(x[:, None])[:, 0])
    assert 3 < refused < 190


def test_more_octaves_than_a_word_has_bits() -> None:
    """The smallest thresholds are all alike."""
    row = np.ceil(1e6 * 2.0 ** np.arange(-60, 3)).astype(np.int64)
    assert fit_octaves(row[None, :], np.array([-REACH]), np.array([10**6])) is None


@pytest.mark.parametrize("each", [1, 2])
def test_thresholds_a_few_accumulators_apart(each: int) -> None:
    """Sums are shifted up, powers begin where the smallest thresholds say; some channels do not reach the largest."""
    rng = np.random.default_rng(each)
    x, ratio = np.arange(-REACH, REACH + 1), 2.0 ** (1 / each)
    shifted = 0
    for _ in range(40):
        size, begin = rng.uniform(1.2, 3), rng.uniform(-400, 400, (4, 1))
        rows = np.round(begin + size * rng.uniform(1, 2, (4, 1)) * ratio ** np.arange(4 + 6 * each)).astype(int)
        found = fit_octaves(rows, np.full(4, -REACH), np.full(4, REACH))
        if found is not None:
            shifted += found.up > 0
            for channel, row in enumerate(rows.tolist()):
                assert np.array_equal(codes(found, channel, x), Threshold((tuple(row),)).apply(x[:, None])[:, 0])
    assert shifted >= 10


@pytest.mark.parametrize("each", [1, 2])
def test_thresholds_less_than_an_accumulator_apart(each: int) -> None:
    """Several are the same number; the largest tell nothing of where powers begin."""
    rng = np.random.default_rng(each)
    x, ratio, fitted = np.arange(-REACH, REACH + 1), 2.0 ** (1 / each), 0
    for _ in range(20):
        size, begin = rng.uniform(0.1, 0.8), rng.uniform(-400, 400, (3, 1))
        rows = np.round(begin + size * rng.uniform(1, 2, (3, 1)) * ratio ** np.arange(10 * each)).astype(int)
        found = fit_octaves(rows, np.full(3, -REACH), np.full(3, REACH))
        if found is not None:
            fitted += 1
            for channel, row in enumerate(rows.tolist()):
                assert np.array_equal(codes(found, channel, x), Threshold((tuple(row),)).apply(x[:, None])[:, 0])
    assert fitted >= 15


def test_even_thresholds_are_others() -> None:
    rows = np.array([[100 * i for i in range(15)]])
    assert fit_octaves(rows, np.array([-REACH]), np.array([REACH])) is None


def _logarithmic(layer: Layer, each: int, size: float = 9, least: float = 0.5) -> Layer:
    """With thresholds as powers, from about `size` on, but for the first; some channels fall, one never leaves 0."""
    (op,) = layer.graph.ops
    channels = layer.graph.tensors["y"].shape[-1]
    powers = size * 2.0 ** (np.arange(15) / each)
    powers[0] *= least
    rows = [tuple(np.round(40 * c + powers).astype(int).tolist()) for c in range(channels - 1)]
    epilogue = Threshold((*rows, (2**31,) * 15), tuple((-1) ** c for c in range(channels)))
    return replace(layer, graph=replace(layer.graph, ops=(replace(op, epilogue=epilogue),)))  # type: ignore[call-arg]


def test_layers() -> None:
    """In every kind of layer, on the host and on boards: thresholds that are powers, and some that are not quite."""
    nearly = [_logarithmic(layer, *shape) for layer, shape in zip(_kinds("o")[:5], SHAPES[:5], strict=True)]
    exactly = _exactly()
    for one, (_, size) in zip(nearly, SHAPES, strict=False):
        context = _layer(one).by_lengths.epilogue.context
        assert context["form"] == "octaves" and (context["octave_up"] > 0) == (size < 2)
    for one, (lines, size) in zip(exactly, SHAPES, strict=True):
        context = _layer(one).by_lengths.epilogue.context
        assert (context["form"], context["power_lines"], context["power_up"] > 0) == ("powers", lines, size < 2)
        assert _layer(one).epilogue.context["form"] == "octaves"
    wide = [_wide("w1", 1), _wide("w2", 2)]
    for one in wide:
        assert _layer(one).by_lengths.epilogue.context["power_top"] is None
    found = [*nearly, *exactly, *wide]
    check_variants([one.graph for one in found], [one.feeds for one in found], most=2)


@requires_tool("arm-none-eabi-gcc")
def test_powers_with_gcc() -> None:
    """Whose assembly for two codes at once is another."""
    found = [*_exactly(), _wide("w1", 1), _wide("w2", 2)]
    check_variants([one.graph for one in found], [one.feeds for one in found], most=1, compiler="gcc", host=False)
    depthwise = [one for one in found if one.graph.name[-1] in "dl12"]
    graphs, feeds = [one.graph for one in depthwise], [one.feeds for one in depthwise]
    check_variants(graphs, feeds, most=1, compiler="gcc", host=False, part="depthwise")


def _wide(name: str, each: int) -> Layer:
    """Weights of 16 bits, sums near 2^31, and channels whose octaves are longer and longer."""
    log = PowerOfTwo((1.0,), exponents=15)
    layer = layers.conv(name, (5, 4, 8), 8, (3, 3), x=log, w=log, y=levels(4), groups=8)
    (op,) = layer.graph.ops
    sizes = 2 ** (np.linspace(9, 14, 8) if each == 1 else np.linspace(16, 21, 8))
    rows = np.ceil(1e6 + sizes[:, None] * 2.0 ** (np.arange(15) / each)).astype(int).tolist()
    epilogue = Threshold(tuple(map(tuple, rows)), tuple((-1) ** c for c in range(8)))
    return replace(layer, graph=replace(layer.graph, ops=(replace(op, epilogue=epilogue),)))  # type: ignore[call-arg]


def _exactly() -> list[Layer]:
    return [_logarithmic(layer, *shape, least=1.0) for layer, shape in zip(_kinds("p"), SHAPES, strict=True)]


def _kinds(prefix: str) -> list[Layer]:
    x, w, y = affine(3), levels(4, True), levels(4)
    return [
        layers.conv(f"{prefix}c", (4, 5, 8), 5, (3, 3), x=x, w=w, y=y),
        layers.conv(f"{prefix}p", (4, 5, 8), 6, (1, 1), x=x, w=w, y=y),
        layers.conv(f"{prefix}d", (5, 4, 8), 8, (3, 3), x=x, w=w, y=y, groups=8),
        layers.dense(f"{prefix}f", (40,), 7, x=x, w=w, y=y),
        layers.conv(f"{prefix}s", (4, 5, 8), 6, (1, 1), x=x, w=w, y=y, seed=1),
        layers.conv(f"{prefix}l", (5, 4, 8), 8, (3, 3), x=PowerOfTwo((1.0,), exponents=15), w=w, y=y, groups=8),
    ]


def _layer(one: Layer) -> IntegerLayer:
    node = one.graph.node(one.graph.ops[0])
    layer = integer_layer(node, wide=True, reads="any")
    assert layer is not None
    return layer
