"""Depthwise layers on integer codes, and what int8 ones have from them: odd channels, several filters a channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.differential.test_widened import ACTIVATIONS, WEIGHTS
from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M7
from tests.support.integer_layers import BINARY, INT32, OUTPUTS, Layer
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Affine, Codebook, IntegerEncoding
from tinygen.lowering.select import choose


def depthwise(count: int, seed: int) -> list[Layer]:
    """Encodings in turn; odd and even rows, channels beyond a word of bits, strides, dilated columns."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        channels, filters = int(rng.choice([4, 5, 8, 18, 34])), 1 + (i % 5 == 4)
        stride, w = int(rng.integers(1, 3)), WEIGHTS[(4 * i + seed) % len(WEIGHTS)]
        found.append(
            layers.conv(
                f"d{seed}_{i}",
                (int(rng.integers(5, 9)), int(rng.integers(5, 9)), channels),
                channels * filters,
                ((3, 3), (2, 2), (5, 1), (1, 3))[i % 4],
                x=ACTIVATIONS[(i + seed) % len(ACTIVATIONS)],
                w=w,
                y=OUTPUTS[int(rng.integers(len(OUTPUTS)))] if i % 3 else BINARY,
                stride=(stride, stride),
                dilation=(1, 2) if i % 7 == 6 else (1, 1),
                same=bool(rng.random() < 0.7),
                groups=channels,
                scaled=i % 6 == 5 and not isinstance(w, Codebook),
                seed=i,
            )
        )
    return found


def _check(found: list[Layer], **options: object) -> int:
    graphs, feeds = [one.graph for one in found], [one.feeds for one in found]
    return check_variants(graphs, feeds, part="depthwise", **options)  # type: ignore[arg-type]


@one_in(3)
def test_depthwise(every: int) -> None:
    assert _check(depthwise(32, 1)[::every], in_turn=True) >= 32 // every


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    cores = ((M7, (*DSP, "dual-issue")), (M4, DSP))
    _check(depthwise(16, 2), host=False, compiler="gcc", cores=cores, in_turn=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 6))
def test_many(seed: int) -> None:
    _check(depthwise(64, seed), in_turn=True, turns=2)


@pytest.mark.parametrize("x", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("w", WEIGHTS, ids=str)
def test_no_pair_is_plain(x: IntegerEncoding, w: IntegerEncoding) -> None:
    layer = layers.conv("one", (5, 5, 9), 9, (3, 3), x=x, w=w, y=INT32, groups=9)
    assert "depthwise_conv_2d_d" in choose(layer.graph.node(layer.graph.ops[0]), "tinygen", DSP).kernel.name


def by_channel() -> list[Layer]:
    """What no pairs of rows are made of: codes of 16 bits, dilated rows, long strides, single rows, few channels."""
    half, code = Affine("int16", (1.0,), (0,)), layers.affine(3)
    shapes: list[tuple[tuple[int, int, int], int, tuple[int, int], dict[str, Any]]] = [
        ((5, 6, 7), 7, (3, 3), {"x": half}),
        ((4, 9, 5), 10, (4, 4), {"x": half, "same": False}),
        ((7, 5, 6), 6, (3, 2), {"x": layers.levels(4, True), "dilation": (2, 1)}),
        ((8, 8, 33), 33, (2, 3), {"x": BINARY, "dilation": (3, 2)}),
        ((9, 4, 8), 8, (3, 3), {"x": code, "stride": (3, 1)}),
        ((1, 7, 4), 4, (1, 3), {"x": layers.levels(8)}),
        ((6, 6, 3), 6, (5, 3), {"x": layers.POWERS}),
    ]
    return [
        layers.conv(
            f"c{i}", image, filters, kernel, w=layers.levels(5, True), y=OUTPUTS[i], groups=image[2], seed=i, **how
        )
        for i, (image, filters, kernel, how) in enumerate(shapes)
    ]


def test_by_channel() -> None:
    found = by_channel()
    chosen = {choose(next(iter(layer.graph.nodes())), "compact", DSP).kernel.name for layer in found}
    assert {name.removesuffix("_unpacked") for name in chosen} == {"depthwise_conv_2d_channels_dsp"}
    assert _check(found, in_turn=True) > len(found)
