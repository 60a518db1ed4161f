"""Uneven thresholds, as those of a tanh: a table over equal cells gives a channel's code, up to one comparison.

The cell of an accumulator is saturate((offset + (x * multiplier >> 32)) >> shift), one of 2^bits cells that divide the
interval from the first threshold to the last. No cell contains more than one threshold: checked for every channel and
cell that an accumulator can reach. A cell is one word, 2^radix * (t - 1) + n + 1, with n thresholds before it and the
next one at t: the code is (word mod 2^radix) + ((2^radix * x - word) >> 31). Words rise with the cell's number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_FEWEST = 4
_BITS = (4, 5, 6)
_FINEST = 8
_ROOM = 2**30


class Cells(NamedTuple):
    """Constants of the formula above.

    Attributes:
        multiplier, offset: int64 [channels] of int32.
        cells: int64 [channels, 2^bits] of int32.
    """

    multiplier: np.ndarray
    offset: np.ndarray
    cells: np.ndarray
    bits: int
    shift: int
    radix: int


def fit_cells(rows: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> Cells | None:
    """Constants for rising thresholds [channels, n], with the fewest cells; None where more would be needed.

    Args:
        rows: int64, -2^31 to 2^31 - 1.
        lows, highs: least and largest accumulator per channel.
    """
    if not _FEWEST <= rows.shape[1] < 2 ** _BITS[-1]:
        return None
    # Words, and their differences from the scaled accumulators that they are compared with.
    if max(np.abs(lows).max(), np.abs(highs).max()) << rows.shape[1].bit_length() >= _ROOM:
        return None
    for bits in _BITS:
        found = _fit(rows, lows, highs, bits)
        if found is not None:
            return found
    return None


def _fit(rows: np.ndarray, lows: np.ndarray, highs: np.ndarray, bits: int) -> Cells | None:
    zero, width = _grid(rows, lows, highs, bits)
    met = width > 0
    if not met.any():
        return None
    # The grid is limited so that the multiplier, and a cell's number before the shift, have at most 30 bits; widths are
    # at least 4.
    shift = min(_FINEST, int(np.floor(np.log2(width[met].min()))) - 2)
    multiplier, offset = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    multiplier[met] = np.round(2.0 ** (32 + shift) / width[met])
    offset[met] = np.round(-zero[met] / width[met] * 2**shift)
    radix = rows.shape[1].bit_length()
    cells = np.zeros((len(rows), 1 << bits), np.int64)
    for channel, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        borders = _borders(int(multiplier[channel]), int(offset[channel]), bits, shift)
        first = np.clip(np.array([low, *borders]), low, high + 1)
        last = np.append(first[1:], high + 1) - 1
        # A threshold at a cell's start is the cell's own, so that words name all: cores that search the words meet it.
        counts = [np.searchsorted(rows[channel], x, side="right") for x in (np.maximum(first - 1, low), last)]
        if np.any((counts[1] > counts[0] + 1) & (first <= last)):
            return None
        # Where all are reached, the next one is never; the last code would be one too many for the radix.
        before = np.minimum(counts[0], rows.shape[1] - 1)
        following = np.clip(rows[channel][before], low, high + 1)
        cells[channel] = ((following - 1) << radix) + before + 1
    return Cells(multiplier, offset, cells, bits, shift, radix)


def _grid(rows: np.ndarray, lows: np.ndarray, highs: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The start of the first cell and the width of cells, per channel; width 0 if one comparison decides all codes."""
    zero, width = np.zeros(len(rows)), np.zeros(len(rows))
    for channel, (row, low, high) in enumerate(zip(rows, lows, highs, strict=True)):
        met = row[(row > low) & (row <= high)]
        if len(met) > 1:
            # The first threshold is in the first cell, the last one in the last.
            width[channel] = max((met[-1] - met[0]) / ((1 << bits) - 1.5), 4.0)
            zero[channel] = met[0] - width[channel] / 2
    return zero, width


def _borders(multiplier: int, offset: int, bits: int, shift: int) -> list[int]:
    """The first accumulator of each place but the first."""
    if multiplier == 0:
        return [2**31] * ((1 << bits) - 1)
    return [-((offset - (place << shift) << 32) // multiplier) for place in range(1, 1 << bits)]
