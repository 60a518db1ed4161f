"""Orders of packed weights: what an inner loop takes out of a word, and which weights that must be."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.lowering.kernels.support.weights.packing import pack_carried_rows, pack_dot_blocks, pack_dsp_rows


def _rows(filters: int, taps: int, least: int = -128) -> np.ndarray:
    return np.random.default_rng([filters, taps]).integers(least, 128, (filters, taps)).astype(np.int8)


def _padded(rows: np.ndarray, block: int) -> np.ndarray:
    filters, taps = rows.shape
    padded = np.zeros((-(-filters // block) * block, -(-taps // 4) * 4), np.int64)
    padded[:filters, :taps] = rows
    return padded


@pytest.mark.parametrize(("filters", "taps"), [(1, 1), (3, 4), (2, 7), (5, 16)])
def test_rows_for_sign_extension(filters: int, taps: int) -> None:
    """Bytes 0 and 2 of a word are taps 0 and 1, bytes 1 and 3 taps 2 and 3."""
    rows = _rows(filters, taps)
    words = pack_dsp_rows(rows).reshape(filters, -1, 4)
    taken = np.stack([words[..., 0], words[..., 2], words[..., 1], words[..., 3]], -1)
    assert np.array_equal(taken.reshape(filters, -1), _padded(rows, 1))


@pytest.mark.parametrize(("filters", "taps", "block"), [(4, 8, 4), (5, 6, 4), (2, 4, 2), (3, 9, 2)])
def test_blocks_of_filters(filters: int, taps: int, block: int) -> None:
    """Even bytes are a pair of taps of one filter, odd bytes of the next; pairs are taps 0 and 2, then 1 and 3."""
    rows = _rows(filters, taps)
    packed = pack_dot_blocks(rows, block).reshape(-1)
    words = packed.reshape(-1, _padded(rows, block).shape[1] // 2, block // 2, 4)  # block, pair, two filters, bytes
    found = np.zeros_like(_padded(rows, block))
    for number, pair, two in np.ndindex(*words.shape[:3]):
        four, second = divmod(pair, 2)
        for filter_ in (0, 1):
            row = number * block + 2 * two + filter_
            found[row, 4 * four + second] = words[number, pair, two, filter_]
            found[row, 4 * four + second + 2] = words[number, pair, two, filter_ + 2]
    assert np.array_equal(found, _padded(rows, block))


@pytest.mark.parametrize(("outputs", "taps", "block"), [(4, 8, 4), (3, 5, 4), (9, 12, 4), (9, 12, 8)])
def test_rows_with_a_carry(outputs: int, taps: int, block: int) -> None:
    """The halves of a word are taps 0 + 256 * 1 and 2 + 256 * 3, for the rows of a block in turn."""
    rows = _rows(outputs, taps, -127)
    packed = pack_carried_rows(rows, block)
    assert packed is not None
    padded = _padded(rows, block)
    halves = np.ascontiguousarray(packed).view("<i2").astype(np.int64).reshape(-1, padded.shape[1] // 4, block, 2)
    wanted = (padded[:, 0::2] + 256 * padded[:, 1::2]).reshape(-1, block, padded.shape[1] // 4, 2).transpose(0, 2, 1, 3)
    assert np.array_equal(halves, wanted)


@pytest.mark.parametrize(
    ("pair", "fits"), [((0, -128), True), ((-1, -128), False), ((-128, -127), True), ((127, 127), True)]
)
def test_a_carry_that_does_not_fit(pair: tuple[int, int], fits: bool) -> None:
    rows = np.zeros((4, 4), np.int8)
    rows[2, 2:4] = pair
    assert (pack_carried_rows(rows) is not None) == fits
