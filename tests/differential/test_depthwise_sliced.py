"""Depthwise convolutions on packed codes of one and two bits, bit by bit: against the operators' meaning."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.bare_batch import run_on_bare_core
from tests.support.board_batch import M4, M7, run_on_board
from tests.support.cases import Draw, draws
from tests.support.host_batch import run_on_host
from tests.support.integer_layers import BINARY, TERNARY, Layer, affine, levels
from tests.support.shares import one_in
from tinygen.ir.encodings import Affine, Binary
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.kernels.depthwise.depthwise_conv_2d_sliced import depthwise_conv_2d_sliced
from tinygen.lowering.lower import lower
from tinygen.targets.bare_cores import bare_cores

RV32 = ("c99", "scalar", "rv32")
_NARROW = Affine("int8", (1.0,), (0,))


def drawn(draw: Draw, number: int) -> Layer:
    """One, two or several words of channels, or several pixels in a word; windows of up to 5x4."""
    code = (BINARY, levels(2), levels(2, True))[number % 3]
    channels = draw.choice([1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 32, 33, 40, 64, 80])
    kernel = draw.choice([(3, 3), (3, 3), (1, 3), (2, 2), (5, 4), (1, 1)])
    dilation = draw.choice([(1, 1), (1, 1), (1, 1), (2, 1), (1, 2)])
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    image = (least[0] + draw.integer(0, 6), least[1] + draw.integer(0, 9), channels)
    weights = (BINARY, TERNARY, levels(2, True), levels(3, True), _NARROW)[draw.integer(0, 4)]
    layer = layers.conv(
        f"sliced{number}",
        image,
        channels,
        kernel,
        x=code,
        w=weights,
        y=code,
        stride=draw.choice([(1, 1), (1, 1), (2, 2), (1, 2), (2, 1)]),
        dilation=dilation,
        same=draw.choice([True, True, False]),
        groups=channels,
        zeros=draw.choice([0.0, 0.5]) if weights in (TERNARY, _NARROW) else 0.0,
        seed=number,
        weights=None if weights != _NARROW else few(draw, channels, kernel),
    )
    return packed(layer)


def few(draw: Draw, channels: int, kernel: tuple[int, int]) -> np.ndarray:
    """Weights of -7 to 7, all of one sign now and then."""
    low = draw.choice([-7, -7, 0, 1])
    return draw.rng.integers(low, 8, (channels, *kernel, 1)).astype(np.int8)


def packed(layer: Layer) -> Layer:
    """With codes of two bits in words, and samples of equal codes."""
    tensors = dict(layer.graph.tensors)
    for name in ("x", "y"):
        if not isinstance(tensors[name].encoding, Binary):
            tensors[name] = replace(tensors[name], code_bits=2)
    x = tensors["x"]
    ends = [[np.full(x.shape, code, x.dtype)] for code in x.integer.code_range]
    return Layer(replace(layer.graph, tensors=tensors), [*layer.feeds, *ends])


def matches(layer: Layer) -> bool:
    return depthwise_conv_2d_sliced(layer.graph.node(layer.graph.ops[0])) is not None


def check(found: list[Layer]) -> None:
    """On the host under sanitizers, and on each kind of core."""
    feeds = [one.feeds for one in found]
    for kernel, isa, run in (
        ("depthwise_conv_2d_sliced", RV32, partial(run_on_bare_core, board=bare_cores()["esp32c3-core"])),
        ("depthwise_conv_2d_sliced_dsp", ("c99", "dsp"), partial(run_on_board, core=M4)),
        ("depthwise_conv_2d_sliced_dual", ("c99", "dsp", "dual-issue"), partial(run_on_board, core=M7)),
    ):
        programs = [lower(one.graph, isa=isa, kernels={"layer": kernel}) for one in found]
        assert all(program.steps[0].kernel.name == kernel for program in programs)
        for runs in (run_on_host, run):
            with TemporaryDirectory() as folder:
                results = runs(programs, feeds, Path(folder))
            for one, rows in zip(found, results, strict=True):
                for feed, got in zip(one.feeds, rows, strict=True):
                    assert all(map(np.array_equal, evaluate(one.graph, feed), got)), (kernel, one.graph.name)


@one_in(3)
def test_layers(every: int) -> None:
    found = [drawn(draw, number) for number, draw in enumerate(draws("sliced layers", 45))]
    assert sum(not matches(one) for one in found) < 2  # whose weights are all zero
    check([one for one in found if matches(one)][::every])


@pytest.mark.long
def test_many_layers() -> None:
    found = [drawn(draw, number) for number, draw in enumerate(draws("many sliced layers", 240))]
    check([one for one in found if matches(one)])


def test_what_is_left_to_others() -> None:
    """Weights beyond 7, codes of four bits, outputs of other bits, several filters a channel."""
    one = partial(layers.conv, "other", (5, 5, 8), 8, (3, 3), groups=8, seed=1)
    large = np.full((8, 3, 3, 1), 8, np.int8)
    assert matches(packed(one(x=levels(2), w=affine(0), y=levels(2), weights=large - 1)))
    assert not matches(packed(one(x=levels(2), w=affine(0), y=levels(2), weights=large)))
    assert not matches(one(x=levels(2), w=levels(2, True), y=levels(2)))
    assert not matches(one(x=BINARY, w=TERNARY, y=affine(3)))
    several = layers.conv("several", (5, 5, 8), 16, (3, 3), x=BINARY, w=TERNARY, y=BINARY, groups=8)
    assert not matches(several)
