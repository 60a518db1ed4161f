"""Walks over live columns: every live weight is met once, whatever the reach of a step."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.lowering.kernels.dense.sparse_rows import blocks_of, smallest_unsigned, to_words, walk


def _visited(live: np.ndarray, reach: int) -> np.ndarray:
    """What a kernel would meet: from column 0 of each row, step by step."""
    steps = walk(live, reach)
    assert steps.deltas.min(initial=0) >= 0 and steps.deltas.max(initial=0) <= reach
    met = np.zeros(live.shape, int)
    at = 0
    for row, count in enumerate(steps.counts):
        column = 0
        for delta, end in zip(steps.deltas[at : at + count], steps.columns[at : at + count], strict=True):
            column += delta
            assert column == end, "columns say where each step ends"
            met[row, column] += bool(live[row, column])
        assert np.all(steps.rows[at : at + count] == row)
        at += count
    assert at == len(steps.deltas)
    return met


@pytest.mark.parametrize("reach", [1, 3, 31, 255])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.2, 1.0])
def test_every_live_column_once(reach: int, density: float) -> None:
    rng = np.random.default_rng([reach, int(100 * density)])
    for width in (1, 2, 255, 256, 257, 512, 700):
        live = rng.random((5, width)) < density
        live[1], live[2, -1] = False, True
        assert np.array_equal(_visited(live, reach), live.astype(int))


def test_long_ways() -> None:
    """A way of exactly the reach is one step; one more column takes another, which ends at a dead column."""
    live = np.zeros((2, 600), bool)
    live[0, 255] = live[1, 256] = live[1, 599] = True
    steps = walk(live, 255)
    assert steps.counts.tolist() == [1, 4]
    assert steps.columns.tolist() == [255, 255, 256, 511, 599]


def test_padding_is_dead_and_stays_where_it_is() -> None:
    live = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]], bool)
    steps = walk(live, 255)
    assert steps.padded(steps.deltas, 2).tolist() == [0, 2, 1, 0, 3, 0]


def test_blocks() -> None:
    weights = np.arange(1, 16).reshape(3, 5)
    blocks = blocks_of(weights, 2, 4)
    assert blocks.shape == (2, 2, 2, 4)
    assert blocks[0, 0].tolist() == [[1, 2, 3, 4], [6, 7, 8, 9]]
    assert blocks[1, 1].tolist() == [[15, 0, 0, 0], [0, 0, 0, 0]]


def test_types() -> None:
    assert smallest_unsigned(np.array([255])).dtype == np.uint8
    assert smallest_unsigned(np.array([256])).dtype == np.uint16
    assert smallest_unsigned(np.zeros(0, int)).dtype == np.uint8
    assert to_words(np.array([1, 2, 3, -1], np.int8)).tolist() == [0xFF030201]
    assert to_words(np.zeros(0, np.int8)).tolist() == [0], "C has no empty arrays"
