"""Kernel scales by tables of sums of four pixels: windows, strides, channels of every kind; sums at their bound."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from tests.differential.test_packed_rows import LOGARITHMIC, SCALAR, SHARED
from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M4_SOFT, M7
from tests.support.integer_layers import BINARY, INT32, OUTPUTS, TERNARY, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants, tuned
from tinygen.lowering.kernels.conv import kernel_scales
from tinygen.lowering.select import choose
from tinygen.targets.bare_cores import bare_cores

PART = "kernel_scales_dsp"
ACTIVATIONS = (affine(-128), affine(7), levels(2), levels(8), levels(4, True), TERNARY, BINARY, LOGARITHMIC, SHARED)
WEIGHTS = (BINARY, BINARY, TERNARY, levels(2, True), levels(3), levels(4, True))
CORES = ((M7, (*DSP, "dual-issue")), (M4, DSP), (M4_SOFT, DSP))


def drawn(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    found = [
        layers.conv(
            f"k{seed}_{i}",
            (int(rng.integers(5, 9)), int(rng.integers(5, 14)), int(rng.choice([1, 3, 4, 17, 33]))),
            int(rng.choice([1, 3, 8, 35])),
            (int(rng.integers(1, 6)), int(rng.integers(1, 6))) if i % 2 else (3, 3),
            x=ACTIVATIONS[i % len(ACTIVATIONS)],
            w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            same=bool(rng.random() < 0.6),
            scaled=True,
            seed=i,
        )
        for i in range(count)
    ]
    return [layer for layer in found if planned(layer)]


def planned(layer: Layer) -> bool:
    return _planned(layer, PART, (*DSP, "dual-issue"))


def _planned(layer: Layer, part: str, isa: tuple[str, ...]) -> bool:
    return any(part in choice.kernel.name for choice in tuned(layer.graph.node(layer.graph.ops[0]), part, isa))


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], part=PART, **options)  # type: ignore[arg-type]


@one_in(3)
def test_drawn_layers(every: int) -> None:
    found = drawn(28, 1)[::every]
    assert len(found) >= 22 // every
    _check(found, most=1, in_turn=True)


@pytest.mark.parametrize("core", SCALAR)
@one_in(3)
def test_without_simd(every: int, core: str) -> None:
    """Words multiplied whole."""
    isa = SCALAR[core]
    part = f"kernel_scales_{isa[-1]}"
    found = [layer for layer in drawn(28, 3) if _planned(layer, part, isa)]
    assert len(found) >= 6
    options = {"part": part, "most": 1, "isa": isa, "cores": ((bare_cores()[core], isa),)}
    some = found[::every]
    check_variants([one.graph for one in some], [one.feeds for one in some], **options)  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_many_drawn_layers(compiler: str) -> None:
    _check(drawn(36, 2), most=2, cores=CORES, in_turn=True, compiler=compiler)


def _longest(taps: int) -> Layer:
    """Kernels of ones and of minus ones, on the largest and least activations."""
    weights = np.ones((2, 1, taps, 1), np.uint8)
    weights[1] = 0
    layer = layers.conv(
        "longest",
        (1, taps + 5, 1),
        2,
        (1, taps),
        x=levels(8),
        w=BINARY,
        y=INT32,
        same=False,
        scaled=True,
        weights=weights,
    )
    return replace(layer, feeds=[[np.full((1, 1, taps + 5, 1), code, np.uint8)] for code in (0, 255)])


def test_as_large_as_halves_of_words_hold() -> None:
    """64 taps of -255, and as many of 255: 32,640 between them."""
    _check([_longest(64)], most=1)


def test_larger_sums_are_left_to_others() -> None:
    """65 taps need 33,150, and are wrong where they are taken all the same."""
    assert not planned(_longest(65))
    with patch.object(kernel_scales, "_HALF", 2**16):
        assert planned(_longest(65))
        for options in ({"cores": ()}, {"host": False, "cores": CORES[:1]}):
            with pytest.raises(AssertionError, match="differ"):
                _check([_longest(65)], most=1, **options)


def test_it_is_chosen() -> None:
    graph = layers.conv("chosen", (16, 16, 64), 64, (3, 3), x=affine(-128), w=BINARY, y=affine(0), scaled=True).graph
    for isa in (DSP, (*DSP, "dual-issue")):
        assert choose(graph.node(graph.ops[0]), "compact", isa).kernel.name == "conv_2d_kernel_scales_dsp"
