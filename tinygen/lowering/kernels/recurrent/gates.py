"""Weights of a recurrent layer's gates, in the order in which kernels read them."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.lowering.kernels.support.weights.packing import pack_carried_rows

_HELD = 2**23
"""Sums that are 256 times as large must fit 32 bits."""
_ROUNDED = 1.1


def weights_of(node: Node, first: int, gates: int) -> np.ndarray:
    """[H, gates, taps] of constant inputs from `first` on."""
    return np.stack([node.constant(first + gate) for gate in range(gates)], axis=1)


def biases_of(node: Node, first: int, gates: int, dtype: type[np.generic]) -> np.ndarray:
    """[H, gates] of constant inputs from `first` on; zeros for what is absent."""
    units = node.outputs[1].shape[1]
    found = [node.optional(first + gate) for gate in range(gates)]
    arrays = [np.zeros(units) if one is None or one.data is None else one.data for one in found]
    return np.stack(arrays, axis=1).astype(dtype)


def by_tap(weights: np.ndarray) -> np.ndarray:
    """By unit, tap by tap those of the gates; flat."""
    return weights.transpose(0, 2, 1).reshape(-1)


def fours_of(taps: int) -> int:
    """Groups of four taps; a few more where that makes whole groups of sixteen, which take fewer cycles a tap."""
    fours = -(-taps // 4)
    whole = -(-fours // 4) * 4
    return whole if whole <= _ROUNDED * fours else fours


def for_dot(weights: np.ndarray, begin: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows for tg_dot_1x4(), four at a time, and what their sums begin with, which are 256 times as large.

    Args:
        weights: int8 [rows, taps], rows a multiple of four.
        begin: int64 [rows], what sums begin with.

    Returns:
        None where sums may not fit.
    """
    wide = weights.astype(np.int64)
    if (np.abs(begin) + 128 * np.abs(wide).sum(axis=1)).max() >= _HELD:
        return None
    padded = np.pad(wide, ((0, 0), (0, 4 * fours_of(wide.shape[1]) - wide.shape[1])))
    packed = pack_carried_rows(padded.astype(np.int8))
    if packed is None:
        return None
    # The loop reads a block ahead; what extended codes add to sums is taken off.
    flat = np.append(packed.reshape(-1), np.zeros(16, np.int8))
    return flat, 256 * begin - 127 * padded[:, 0::2].sum(axis=1)
