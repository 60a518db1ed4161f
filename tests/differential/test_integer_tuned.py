"""Every variant of the multiplying kernels on integer codes, against the operators' meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.board_batch import M4, M7
from tests.support.integer_layers import BINARY, INT8, INT32, OUTPUTS, TERNARY, Layer, affine, levels
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tests.targets.tools import requires_tool
from tinygen.ir.encodings import Affine, Encoding
from tinygen.ir.epilogue import Rescale
from tinygen.lowering.select import choose

ACTIVATIONS = (
    affine(-128),
    affine(5),
    TERNARY,
    *(levels(b) for b in (2, 3, 4, 7, 8)),
    *(levels(b, True) for b in (2, 4, 8)),
)
WEIGHTS = (INT8, BINARY, TERNARY, layers.POWERS, levels(4, True), levels(2, True), levels(7, True), layers.codebook(16))


def convolutions(count: int, seed: int) -> list[Layer]:
    """Odd and even sizes, whole and broken words of channels; encodings in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        channels = int(rng.choice([1, 3, 4, 8, 12, 20, 33]))
        kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5))) if rng.random() < 0.8 else (1, 1)
        found.append(
            layers.conv(
                f"c{seed}_{i}",
                (int(rng.integers(5, 9)), int(rng.integers(5, 10)), channels),
                int(rng.choice([1, 3, 4, 8, 35, 64])),
                kernel,
                x=ACTIVATIONS[i % len(ACTIVATIONS)],
                w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
                y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
                stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
                same=bool(rng.random() < 0.6),
                dilation=(int(rng.integers(1, 3)), 1) if rng.random() < 0.2 else (1, 1),
                shared=bool(rng.random() < 0.3),
                seed=i,
            )
        )
    return found


def dense_layers(count: int, seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        layers.dense(
            f"d{seed}_{i}",
            ((int(rng.integers(1, 70)),), (3, 2, 8), (2, 2, 5))[int(rng.integers(3))],
            int(rng.choice([1, 3, 4, 10, 33, 40])),
            x=(*ACTIVATIONS, BINARY)[i % (len(ACTIVATIONS) + 1)],
            w=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            shared=bool(rng.random() < 0.3),
            seed=i,
        )
        for i in range(count)
    ]


def pools(seed: int) -> list[Layer]:
    rng = np.random.default_rng(seed)
    found = []
    for i, x in enumerate((*ACTIVATIONS, layers.POWERS)):
        image = (int(rng.integers(4, 8)), int(rng.integers(4, 8)), int(rng.integers(4, 14)))
        kernel, stride = (tuple(int(n) for n in rng.integers(1, 4, 2)) for _ in range(2))
        sign = ("mixed", "rising", "falling")[i % 3]
        found.append(layers.max_pool(f"p{seed}_{i}", image, kernel, stride, x=x, same=i % 2 == 0, sign=sign, seed=seed))
    return found


def _check(found: list[Layer], **options: object) -> int:
    return check_variants([one.graph for one in found], [one.feeds for one in found], most=3, **options)  # type: ignore[arg-type]


@one_in(3)
def test_convolutions(every: int) -> None:
    assert _check(convolutions(22, 1)[::every], in_turn=every > 1) >= 40 // every


def scaled_convolutions(count: int, seed: int) -> list[Layer]:
    """With a scale per kernel."""
    rng = np.random.default_rng(seed)
    return [
        layers.conv(
            f"s{seed}_{i}",
            (int(rng.integers(4, 8)), int(rng.integers(4, 8)), int(rng.choice([4, 8, 20]))),
            int(rng.choice([1, 3, 4, 6, 9])),
            (3, int(rng.integers(1, 4))),
            x=ACTIVATIONS[i % len(ACTIVATIONS)],
            w=(BINARY, levels(2, True), levels(4, True), TERNARY)[i % 4],
            y=OUTPUTS[int(rng.integers(len(OUTPUTS)))],
            same=i % 3 > 0,
            scaled=True,
            seed=i,
        )
        for i in range(count)
    ]


@one_in(3)
def test_kernel_scales(every: int) -> None:
    found = scaled_convolutions(16, 1)
    node = found[0].graph.node(found[0].graph.ops[0])
    assert choose(node, "tinygen", DSP).kernel.name.startswith("conv_2d_packed_dsp")
    _check(found[::every], in_turn=every > 1)


@one_in(3)
def test_dense_layers(every: int) -> None:
    assert _check(dense_layers(22, 1)[::every], in_turn=every > 1) >= 22 // every


@one_in(3)
def test_books_of_odd_depths(every: int) -> None:
    """Five codes of three bits in a word: the last taps begin a word of their own."""
    found = [
        layers.dense(f"b{depth}_{seed}", (depth,), 1, x=levels(4), w=layers.codebook(16), y=INT32, seed=seed)
        for depth in (9, 10)
        for seed in range(6)
    ]
    _check(found[::every], in_turn=every > 1)


@one_in(3)
def test_pools(every: int) -> None:
    half = Affine("int16", layers.ONE, (0,))
    signs = ("mixed", "falling")
    halves = [layers.max_pool(sign, (5, 6, 7), (2, 3), (1, 2), x=half, same=True, sign=sign) for sign in signs]
    _check([*[*pools(1), *pools(2), *pools(3)][::every], *halves], in_turn=every > 1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 4))
def test_many_layers(seed: int) -> None:
    _check([*convolutions(44, seed), *dense_layers(44, seed)], in_turn=True, turns=2)


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_with_gcc() -> None:
    _check(
        [*convolutions(11, 9), *dense_layers(11, 9)],
        host=False,
        compiler="gcc",
        cores=((M7, (*DSP, "dual-issue")), (M4, DSP)),
    )


@pytest.mark.parametrize("x", ACTIVATIONS, ids=str)
def test_is_chosen(x: layers.IntegerEncoding) -> None:
    """Whole words of channels run in the multiplying kernels, whatever the output."""
    for y in (*OUTPUTS, INT32):
        layer = layers.conv("one", (6, 6, 8), 8, (3, 3), x=x, w=TERNARY, y=y, seed=3)
        choice = choose(layer.graph.node(layer.graph.ops[0]), "tinygen", DSP)
        assert "dsp" in choice.kernel.name


def _with(layer: Layer, epilogue: Rescale) -> Layer:
    """The same layer with another epilogue."""
    (op,) = layer.graph.ops
    graph = replace(layer.graph, ops=(replace(op, epilogue=epilogue),))  # type: ignore[call-arg]
    graph.validate()
    return replace(layer, graph=graph)


def _both(name: str, filters: int, y: Encoding) -> list[Layer]:
    """A convolution and a dense layer, half of their weights zero."""
    return [
        layers.conv(f"{name}c", (4, 5, 8), filters, (3, 3), x=affine(-128), w=INT8, y=y, zeros=0.5),
        layers.dense(f"{name}d", (3, 4, 4), filters, x=affine(17), w=INT8, y=y, zeros=0.5),
    ]


def test_bits_between_clamps_of_channels() -> None:
    """Bits are packed into words, and a channel may be always one of them."""
    half = 1 << 9
    epilogue = Rescale((1,), (half,), (10,), 0, 1, (0, 1, 0, 0, 1), (1, 1, 0, 1, 1))
    _check([_with(layer, epilogue) for layer in _both("b", 5, BINARY)])


@pytest.mark.parametrize("part", ["", "sparse"])
def test_multiplier_without_an_opposite(part: str) -> None:
    """Of channels that fall weights and multiplier are negated, and -2**31 has no opposite in 32 bits."""
    epilogue = Rescale((-(2**31), 2**31 - 1, -5), (1 << 44, -(1 << 44), 0), (38, 38, 4), -128, 127)
    _check([_with(layer, epilogue) for layer in _both(f"m{part}", 3, affine(3))], part=part)
