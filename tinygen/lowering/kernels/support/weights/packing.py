"""Orders of weights that avoid shuffles in the inner loop."""

from __future__ import annotations

import numpy as np


def pack_dsp_rows(rows: np.ndarray) -> np.ndarray:
    """Rows of int8 weights for SXTB16: padded with zeros to a multiple of four, each four as 0, 2, 1, 3.

    SXTB16 widens bytes 0 and 2 of a word, so after this order its result is taps 0 and 1, in the order
    in which the activations lie.

    Args:
        rows: [filters, taps].

    Returns:
        [filters, taps rounded up to a multiple of 4].
    """
    filters, taps = rows.shape
    padded = np.zeros((filters, -(-taps // 4) * 4), np.int8)
    padded[:, :taps] = rows
    return padded.reshape(filters, -1, 4)[:, :, [0, 2, 1, 3]].reshape(filters, -1)


def pack_dot_blocks(rows: np.ndarray, block: int = 4) -> np.ndarray:
    """Rows of int8 weights in the order of tg_extend() and tg_dot_2x4(): in blocks of filters, pair of taps by pair.

    A word holds two filters' weights for one pair of taps: f0.a, f1.a, f0.b, f1.b, so that its even bytes are the pair
    of the first filter and its odd bytes that of the second. Pairs are taps 0 and 2, then 1 and 3 of each four, as
    tg_extend() makes them of activations.

    Args:
        rows: [filters, taps].
        block: filters in a block, even.

    Returns:
        [blocks * block, taps rounded up to a multiple of 4]; zeros where there are no weights.
    """
    filters, taps = rows.shape
    padded = np.zeros((-(-filters // block) * block, -(-taps // 4) * 4), np.int8)
    padded[:filters, :taps] = rows
    pairs = padded.reshape(-1, block // 2, 2, padded.shape[1] // 4, 2, 2)  # block, two filters, filter, four, b/a, pair
    return pairs.transpose(0, 3, 5, 1, 4, 2).reshape(padded.shape)


def pack_carried_rows(rows: np.ndarray, block: int = 4) -> np.ndarray | None:
    """Rows of int8 weights in the order of tg_dot_1x4(): blocks of rows, four taps of each row in turn.

    The bytes of each word are two int16: taps 0 + 256 * 1 and 2 + 256 * 3, which takes a carry into the odd taps where
    the even one is negative.

    Args:
        rows: [outputs, taps].
        block: rows in a block; 8 for tg_dot_1x8().

    Returns:
        [outputs rounded up to whole blocks, taps to a multiple of 4]; None when a sum does not fit 16 bits.
    """
    outputs, taps = rows.shape
    padded = np.zeros((-(-outputs // block) * block, -(-taps // 4) * 4), np.int64)
    padded[:outputs, :taps] = rows
    halves = padded[:, 0::2] + 256 * padded[:, 1::2]
    if halves.size and (halves.min() < -(2**15) or halves.max() >= 2**15):
        return None
    carried = halves.astype("<i2").view(np.int8).reshape(padded.shape)
    return carried.reshape(-1, block, padded.shape[1] // 4, 4).transpose(0, 2, 1, 3).reshape(padded.shape)
