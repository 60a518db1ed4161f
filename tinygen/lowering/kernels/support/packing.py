"""Weight orders that spare the inner loop its shuffles."""

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
