"""Assembly of a Cortex-M0+: depthwise windows of 3x3 down a column, one window by four filters; short epilogues."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.differential.test_scalar import M0PLUS, check, check_layers, depthwise_layers_of_bits, logarithmic
from tests.differential.test_tuned import window
from tests.support import integer_layers
from tests.support.integer_layers import Layer, affine, levels
from tests.targets.tools import requires_tool
from tinygen.bench.lowbit import spreading_epilogue
from tinygen.bench.pairs import WEIGHTS
from tinygen.ir.encodings import Affine, Codebook, PowerOfTwo
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.kernels.depthwise import depthwise_conv_2d_columns, guessed
from tinygen.lowering.kernels.depthwise.guessed import guesses
from tinygen.lowering.kernels.depthwise.low_words import low_words_epilogue
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import staircase_of
from tinygen.lowering.kernels.support.epilogues.staircase import NONE, Staircase, ends_of_steps
from tinygen.lowering.lower import lower

SHARED = WEIGHTS["16 shared values"]
_GCC = (requires_tool("arm-none-eabi-gcc"), pytest.mark.long)
# One sum, two, three and more: the loop begins with the rest; no border, one of each kind; several images.
INT8 = [
    window((1, 4), 2, 0, (3, 3)),
    window((5, 3), 3, 0, (3, 3), same=False),
    window((4, 1), 2, 0, (3, 3)),
    window((8, 5), 3, 0, (3, 3), batch=2),
]


def layers() -> list[Layer]:
    """Codes of 16 bits, of signed levels, from 0 to 255, of bits, logarithmic ones; two filters a channel."""
    kinds = [Affine("int16", (1.0,), (0,)), levels(4, True), levels(8), integer_layers.POWERS]
    found = [
        integer_layers.conv(
            f"k{i}",
            (4 + i, 3, 3),
            3 * (1 + i % 2),
            (3, 3),
            groups=3,
            x=x,
            w=(integer_layers.INT8, levels(4, True))[i % 2],
            y=(affine(3), levels(4))[i // 2],
            seed=i,
        )
        for i, x in enumerate(kinds)
    ]
    powers, (image, kernel) = PowerOfTwo((1.0,), exponents=15), ((12, 9, 3), (3, 3))
    low = integer_layers.conv("low", image, 3, kernel, groups=3, x=affine(-128), w=powers, y=affine(3))
    high = integer_layers.conv("high", image, 3, kernel, groups=3, x=levels(8), w=SHARED, y=levels(8))
    return [*found, low, high, depthwise_layers_of_bits()[0], *logarithmic()]


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=_GCC)])
def test_columns(compiler: str) -> None:
    cases = [*INT8, *((one.graph, one.feeds) for one in layers())]
    cases = cases if compiler == "zig" else cases[::3]
    largest = lower(INT8[-1][0], isa=M0PLUS.isa).layers[0].kernel.name
    assert largest.endswith("columns")
    # With short places some guesses are doubted.
    with patch.object(guessed, "_PLACES", (11,)), patch.object(guessed, "_MOST_DOUBTED", 0.5):
        found = check(cases, isa=M0PLUS.isa, cores=[(M0PLUS, M0PLUS.isa)], part="columns", compiler=compiler)
    assert found >= len(cases)


@pytest.mark.long
def test_few_codes() -> None:
    """A clamp leaves one code, which nothing guesses; or two, of which no guess is doubted."""
    one, two = (
        window((4, 3), 2, 0, (3, 3), y_scale=y_scale, zero=127, seed=seed) for y_scale, seed in ((40, 0), (12, 13))
    )
    with patch.object(depthwise_conv_2d_columns, "low_words_epilogue", return_value=None):
        plan = depthwise_conv_2d_columns.depthwise_conv_2d_columns(next(iter(two[0].nodes())))
        assert plan and not plan.context["guess"]["doubts"]
        assert check([one, two], isa=M0PLUS.isa, cores=[(M0PLUS, M0PLUS.isa)], part="columns", compiler="zig") >= 2


def test_short_windows() -> None:
    """Strides, windows that are loops, a clamp, codes of few bits."""
    cases = [
        window((7, 6), 3, 0, (3, 3), stride=(2, 2)),
        window((6, 9), 2, 0, (5, 5), stride=(2, 2)),
        window((5, 4), 2, 0, (1, 4), same=False),
    ]
    few = integer_layers.conv(
        "few", (6, 5, 2), 4, (3, 3), stride=(2, 1), groups=2, x=levels(4), w=levels(4, True), y=levels(4)
    )
    cases.append((few.graph, few.feeds))
    assert check(cases, isa=M0PLUS.isa, cores=[(M0PLUS, M0PLUS.isa)], part="_low_words") >= len(cases)
    for graph, _ in cases[:2]:
        assert lower(graph, isa=M0PLUS.isa).layers[0].kernel.name == "depthwise_conv_2d_low_words"


def dense() -> list[Layer]:
    """Bytes and halves, each with each; fewer taps than eight, whole eights, some beyond; least weights and codes."""
    halves = Codebook((1.0,), table=(-32768, -300, 1, 32767))
    kinds = [
        (affine(3), integer_layers.INT8, 7),
        (affine(-128), levels(8, True), 24),
        (Affine("int16", (1.0,), (0,)), integer_layers.INT8, 13),
        (affine(3), halves, 9),
        (integer_layers.POWERS, halves, 8),
    ]
    return [
        integer_layers.dense(f"t{i}", (depth,), 5, x=x, w=w, y=affine(3), seed=i)
        for i, (x, w, depth) in enumerate(kinds)
    ]


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=_GCC)])
def test_one_window(compiler: str) -> None:
    """Weights by the word: signed bytes, halves."""
    part = "fully_connected_scalar"
    assert check_layers(dense(), isa=M0PLUS.isa, cores=[(M0PLUS, M0PLUS.isa)], part=part, compiler=compiler) >= 4


def staircases() -> list[tuple[Staircase | None, np.ndarray]]:
    """Of layers with large sums, and of small ones, whose multipliers have as many bits as there are."""
    found = [staircase_of(next(iter(graph.nodes())), axis=3) for graph, _ in INT8]
    for bits in (2, 4):
        x, w = levels(bits), levels(bits, True)
        (node,) = integer_layers.conv("s", (5, 5, 4), 4, (3, 3), groups=4, x=x, w=w, y=x).graph.nodes()
        flat = integer_mac.weight_integers(node).reshape(4, -1).astype(float)
        assert isinstance(node.op, Conv2D)
        op = replace(node.op, epilogue=spreading_epilogue(x, flat, np.random.default_rng(bits)))
        layer = integer_layer(replace(node, op=op))
        assert layer is not None
        found.append(layer.staircase())
    return found


def test_low_words() -> None:
    """Every code of every sum, and nothing on the way beyond 32 bits."""
    found = 0
    for staircase, bias in staircases():
        ending = low_words_epilogue(staircase, bias)
        if staircase is None or ending is None:
            continue
        found += 1
        context, columns = ending.context, dict(zip((f.name for f in ending.fields), ending.rows.T, strict=True))
        bits, shift = context["low_bits"], context["shift"]
        multiplier = columns.get("multiplier", context["multiplier"])
        steps = np.linspace(0.0, 1.0, 1 << 14)[:, None]
        accumulators = np.rint(staircase.lows + steps * (staircase.highs - staircase.lows)).astype(np.int64)
        sums = accumulators - bias
        parts = sums * (multiplier >> bits), sums * (multiplier % 2**bits)
        scaled = columns["bias"] + parts[0] + (parts[1] >> bits)
        assert all(np.abs(part).max() < 2**31 for part in (*parts, scaled, columns["bias"], np.array(multiplier)))
        wanted = np.clip(staircase.codes(accumulators), staircase.floor, staircase.ceiling)
        assert np.array_equal(np.clip(scaled >> shift, staircase.floor, staircase.ceiling), wanted)
    assert found >= 5


def test_guesses() -> None:
    """Around every step, and between: a guess that is not doubted is right, and few are doubted."""
    found = 0
    for staircase, bias in staircases():
        guess = None if staircase is None else guesses(staircase, bias)
        if staircase is None or guess is None:
            continue
        found += 1
        first, span, multiplier, offset, doubt = guess.rows.T
        steps, *ends = ends_of_steps(staircase)
        near = [np.where(end == NONE, staircase.lows, end) + move for end in ends for move in (-1, 0, 1)]
        between = np.rint(
            staircase.lows + np.linspace(0.0, 1.0, 1 << 14)[:, None] * (staircase.highs - staircase.lows)
        ).astype(np.int64)
        accumulators = np.clip(np.concatenate([*near, between]), staircase.lows, staircase.highs)
        places = (accumulators - bias - first) % 2**32
        codes = offset + (places >> guess.cut) * multiplier
        within = places <= span
        assert codes[within].max() < 2**32
        doubted = within & ((codes << guess.bits) % 2**32 < doubt)
        codes = np.where(within, (codes >> (32 - guess.bits)) + staircase.floor, staircase.ceiling)
        codes = np.where(~within & (places >= 2**31), staircase.floor, codes)
        wanted = np.clip(staircase.codes(accumulators), staircase.floor, staircase.ceiling)
        assert np.array_equal(codes[~doubted], wanted[~doubted])
        assert doubted[-len(between) :].mean() < 0.06 and len(steps)
    assert found >= 5
