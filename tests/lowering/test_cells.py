"""Uneven thresholds found by a table of even cells: what is fitted is right on every accumulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.integer_layers import Layer, affine, levels
from tests.support.variants import check_variants
from tinygen.ir.epilogue import Threshold
from tinygen.lowering.kernels.support.epilogues.cells import Cells, fit_cells
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer

REACH = 3000


def tanh_steps(rng: np.random.Generator, count: int) -> list[int]:
    """Thresholds of a tanh of `count` + 1 codes, at a random place and scale; those of a ReLU's zero are always met."""
    codes = np.arctanh((2 * np.arange(1, count + 1) - count - 1) / (count + 1))
    row = np.round(rng.uniform(-900, 900) + rng.uniform(100, 1500) * codes).astype(int)
    always = int(rng.integers(count)) if rng.random() < 0.5 else 0
    return [-(2**31)] * always + row[always:].tolist()


def codes(found: Cells, channel: int, x: np.ndarray) -> np.ndarray:
    """The formula, as the C has it."""
    place = (found.offset[channel] + (x * found.multiplier[channel] >> 32)) >> found.shift
    word = found.cells[channel][np.clip(place, 0, 2**found.bits - 1)]
    return word % 2**found.radix + ((x * 2**found.radix - word) >> 31)


def searched(found: Cells, channel: int, x: np.ndarray) -> np.ndarray:
    """The same on cores that search for the place."""
    words = found.cells[channel]
    word = words[np.searchsorted(words[:-1], x * 2**found.radix, side="right")]
    return word % 2**found.radix + ((x * 2**found.radix - word) >> 31)


@pytest.mark.parametrize("count", [4, 7, 9, 15, 31])
def test_every_accumulator(count: int) -> None:
    rng = np.random.default_rng(count)
    x, fitted = np.arange(-REACH, REACH + 1), 0
    for _ in range(20):
        rows = [tanh_steps(rng, count) for _ in range(3)]
        rows += [[2**31 - 1] * count, [-(2**31)] * count, [-(2**31)] * (count - 1) + [17]]
        ends = np.full(6, REACH)
        found = fit_cells(np.array(rows), -ends, ends)
        if found is not None:
            fitted += 1
            assert abs(found.offset).max() < 2**30 and np.diff(found.cells).min() >= 0
            for channel, row in enumerate(rows):
                right = Threshold((tuple(row),)).apply(x[:, None])[:, 0]
                assert np.array_equal(codes(found, channel, x), right)
                assert np.array_equal(searched(found, channel, x), right)
    assert fitted >= (12 if count < 31 else 0)


def test_moved_thresholds() -> None:
    """Wherever they lie, some of them twice: it is refused, or right."""
    rng = np.random.default_rng(5)
    x, refused = np.arange(-REACH, REACH + 1), 0
    ends = np.array([REACH])
    for index in range(200):
        row = sorted(rng.integers(-REACH, REACH, 9).tolist())
        row = sorted([*row, row[4]]) if index % 4 == 0 else row
        found = fit_cells(np.array([row]), -ends, ends)
        refused += found is None
        if found is not None:
            right = Threshold((tuple(row),)).apply(x[:, None])[:, 0]
            assert np.array_equal(codes(found, 0, x), right)
            assert np.array_equal(searched(found, 0, x), right)
    assert 10 < refused < 190


def test_words_have_room() -> None:
    """Sums of 26 bits with 15 thresholds, and not one more."""
    row = np.round(3e7 * np.arctanh((2 * np.arange(1, 16) - 16) / 16)).astype(int)
    assert fit_cells(row[None], np.array([-(2**26)]), np.array([0])) is None
    most = 2**26 - 1
    found = fit_cells(row[None], np.array([-most]), np.array([most]))
    assert found is not None
    x = np.concatenate([[-most, most], row, row - 1])
    assert np.array_equal(codes(found, 0, x), Threshold((tuple(row.tolist()),)).apply(x[:, None])[:, 0])
    assert abs(16 * np.array([-most, most]) - found.cells.T).max() < 2**31


def test_thresholds_that_cannot_be_met_do_not_widen_the_cells() -> None:
    row = np.array([[-(10**8), -3, 40, 90, 130, 10**8]])
    found = fit_cells(row, np.array([-200]), np.array([200]))
    assert found is not None and found.bits == 4
    x = np.arange(-200, 201)
    assert np.array_equal(codes(found, 0, x), Threshold((tuple(row[0].tolist()),)).apply(x[:, None])[:, 0])


def _uneven(layer: Layer, count: int) -> Layer:
    """With thresholds of a tanh; some channels fall, one never leaves 0."""
    (op,) = layer.graph.ops
    channels = layer.graph.tensors["y"].shape[-1]
    steps = np.arctanh((2 * np.arange(1, count + 1) - count - 1) / (count + 1))
    rows = [tuple(np.round(30 * c + 300 * steps).astype(int).tolist()) for c in range(channels - 1)]
    epilogue = Threshold((*rows, (2**31,) * count), tuple((-1) ** c for c in range(channels)))
    return replace(layer, graph=replace(layer.graph, ops=(replace(op, epilogue=epilogue),)))  # type: ignore[call-arg]


def test_layers() -> None:
    """In every kind of layer, on the host and on boards."""
    x, w, y = affine(3), levels(4, True), levels(4)
    found = [
        _uneven(layer, 15)
        for layer in (
            layers.conv("cc", (4, 5, 8), 5, (3, 3), x=x, w=w, y=y),
            layers.conv("cp", (4, 5, 8), 6, (1, 1), x=x, w=w, y=y),
            layers.conv("cd", (5, 4, 8), 8, (3, 3), x=x, w=w, y=y, groups=8),
            layers.dense("cf", (40,), 7, x=x, w=w, y=y),
            layers.conv("cq", (4, 5, 8), 5, (3, 3), x=levels(2), w=levels(2, True), y=y),
        )
    ]
    node = found[0].graph.node(found[0].graph.ops[0])
    layer = integer_layer(node)
    assert layer is not None and layer.epilogue.context["form"] == "cells"
    check_variants([one.graph for one in found], [one.feeds for one in found], most=2)
