"""Layers of single bits: the tuned kernels, each plan of each, against the operators' meaning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.differential.test_tuned import GCC, LEVELS
from tests.support import integer_layers as layers
from tests.support.integer_layers import BINARY, INT8, INT32, TERNARY, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Affine, Encoding
from tinygen.lowering.select import choose

OUTPUTS: tuple[Encoding, ...] = (
    BINARY,
    INT32,
    BINARY,
    affine(-7),
    BINARY,
    levels(2),
    BINARY,
    levels(4, True),
    Affine("int16", (1.0,), (0,)),
)


def _convolutions(count: int, seed: int) -> list[Layer]:
    """Windows of 1x1 to 7x7, all strides, dilations, paddings and outputs; channels and filters mostly odd."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        kernel = tuple(int(k) for k in rng.integers(1, 8, 2))
        image = (int(rng.integers(7, 11)), int(rng.integers(7, 11)))
        dilation = tuple(int(rng.choice([1, 1, 2])) if (k - 1) * 2 < min(image) else 1 for k in kernel)
        channels = int(rng.choice([1, 3, 8, 17, 24, 32, 33, 40, 50, 64, 79, 96]))
        filters = int(rng.choice([1, 2, 7, 10, 31, 32, 33, 47, 64, 70]))
        found.append(
            layers.conv(
                f"m{index}",
                (*image, channels),
                filters,
                kernel,
                x=BINARY,
                w=BINARY,
                y=OUTPUTS[index % len(OUTPUTS)],
                stride=tuple(int(s) for s in rng.integers(1, 4, 2)),
                dilation=dilation,
                same=bool(rng.random() < 0.6),
                shared=bool(rng.random() < 0.2),
                seed=index,
            )
        )
    return found


def _batched(layer: Layer, batch: int) -> Layer:
    """The same layer on so many images at once."""
    graph = layer.graph
    larger = {name: replace(graph.tensors[name], shape=(batch, *graph.tensors[name].shape[1:])) for name in "xy"}
    rng = np.random.default_rng(batch)
    feeds = [[layers.random_codes(BINARY, larger["x"].shape, rng)] for _ in range(2)]
    return Layer(replace(graph, tensors={**graph.tensors, **larger}), feeds)


def _check(found: list[Layer], part: str = "xnor", **options: Any) -> None:
    graphs, feeds = [layer.graph for layer in found], [layer.feeds for layer in found]
    for graph in graphs:
        graph.validate()
    check_variants(graphs, feeds, part=part, **options)


@one_in(3)
def test_convolutions(every: int) -> None:
    _check(_convolutions(24, 1)[::every])


def _around(channels: int, y: Encoding) -> Layer:
    """A window so dilated that it lies around the input: accumulators are 0."""
    name = f"m{channels}_{y == BINARY}"
    return layers.conv(name, (2, 3, channels), 33, (2, 2), x=BINARY, w=BINARY, y=y, dilation=(4, 4), seed=channels)


def test_windows_with_no_tap_inside() -> None:
    _check([_around(channels, y) for channels in (5, 34) for y in (BINARY, INT32)])


def test_kernels_of_all_encodings() -> None:
    """They are right with bits, too, where nothing chooses them."""
    _check([*_convolutions(24, 1)[9::6], _around(5, BINARY)], part="", most=5, in_turn=True)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_compiled_by_gcc() -> None:
    _check(_convolutions(7, 2), compiler="gcc", host=False)


@pytest.mark.long
@pytest.mark.parametrize(
    ("compiler", "level"), [pytest.param(*one, marks=GCC if one[0] == "gcc" else ()) for one in LEVELS]
)
def test_optimisation_levels(compiler: str, level: str) -> None:
    """Registers suffice for the assembly in every function, however it is compiled."""
    _check(_convolutions(9, 4), compiler=compiler, host=False, level=level)


@one_in(3)
def test_dense_layers(every: int) -> None:
    """Inputs of one pixel and of several, whose last words are partly empty."""
    rng = np.random.default_rng(3)
    sources = ((33,), (2, 3, 5), (1, 1, 64), (2, 2, 32), (256,), (3, 1, 40), (1000,), (7,))
    found = [
        layers.dense(
            f"m{index}",
            sources[index % len(sources)],
            int(rng.integers(1, 70)),
            x=BINARY,
            w=BINARY,
            y=OUTPUTS[index % len(OUTPUTS)],
            shared=index % 5 == 0,
            seed=index,
        )
        for index in range(18)
    ]
    _check(found[::every])


@pytest.mark.long
def test_batches() -> None:
    bits = {"x": BINARY, "w": BINARY}
    found = [
        layers.conv("c_b", (4, 5, 35), 33, (3, 3), **bits, y=BINARY),
        layers.conv("c_i", (4, 5, 64), 40, (3, 3), **bits, y=INT32),
        layers.dense("d_b", (70,), 33, **bits, y=BINARY),
        layers.dense("d_i", (70,), 33, **bits, y=levels(2)),
        layers.max_pool("p", (5, 4, 35), (2, 2), (2, 2), x=BINARY, same=True),
        layers.sum_pool("s", (5, 4, 35), (2, 2), (2, 2), x=BINARY, y=BINARY, same=True),
        layers.sum_pool("t", (5, 4, 35), (2, 2), (2, 2), x=BINARY, y=INT32, same=True),
    ]
    _check([_batched(layer, 3) for layer in found])


def test_bits_times_other_weights() -> None:
    """These kernels leave them alone, and what takes them reads packed bits."""
    found = []
    for index, w in enumerate((TERNARY, levels(2, True), INT8)):
        found.append(layers.conv(f"c{index}", (5, 5, 35), 9, (3, 3), x=BINARY, w=w, y=BINARY, seed=index))
        found.append(layers.dense(f"d{index}", (2, 2, 35), 9, x=BINARY, w=w, y=INT32, seed=index))
    _check(found, part="", most=4, in_turn=True)


def test_kernel_scales_and_groups_are_left_to_other_kernels() -> None:
    scaled = layers.conv("scaled", (5, 5, 35), 9, (3, 3), x=BINARY, w=BINARY, y=BINARY, scaled=True)
    grouped = layers.conv("grouped", (5, 5, 64), 8, (3, 3), x=BINARY, w=BINARY, y=BINARY, groups=2)
    for layer in (scaled, grouped):
        node = next(iter(layer.graph.nodes()))
        assert "xnor" not in choose(node, "tinygen", ("c99", "dsp")).kernel.name
        assert choose(node, "tinygen", ("c99",)).kernel.name == "conv_2d_codes"


def test_columns_for_many_filters_words_for_few() -> None:
    for filters, name in ((64, "xnor_conv_2d_columns"), (5, "xnor_conv_2d_words")):
        layer = layers.conv("m", (8, 8, 64), filters, (3, 3), x=BINARY, w=BINARY, y=BINARY)
        assert choose(next(iter(layer.graph.nodes())), "tinygen", ("c99",)).kernel.name == name


def test_pools() -> None:
    found = []
    for index, channels in enumerate((1, 31, 32, 33, 64, 70)):
        image = (7 + index % 2, 9, channels)
        kernel, stride = ((2, 2), (2, 2)) if index % 2 else ((3, 2), (2, 1))
        sign, same = ("mixed", "rising", "falling")[index % 3], index < 3
        found.append(layers.max_pool(f"a{index}", image, kernel, stride, x=BINARY, same=same, sign=sign))
        found.append(layers.max_pool(f"b{index}", image, (3, 3), (2, 2), x=BINARY, same=not same, sign="mixed"))
        y = OUTPUTS[index % len(OUTPUTS)]
        found.append(layers.sum_pool(f"s{index}", image, kernel, stride, x=BINARY, y=y, same=same, seed=index))
        found.append(layers.sum_pool(f"g{index}", image, image[:2], (1, 1), x=BINARY, y=INT32, seed=index))
    _check(found)
