"""Requantization in two products of 32 bits, proven for every sum: for cores that have no longer ones, as Cortex-M0+.

With sums below 2^(31 - bits) and multipliers below 2^(2 * bits),

    code = saturate((offset + sum * (multiplier >> bits) + (sum * (multiplier mod 2^bits) >> bits)) >> shift)

is the formula of `staircase` with 2^bits instead of 2^32, and nothing on the way leaves a register. Biases are part of
the offset. Multipliers are shorter than those, so that only layers with few products a sum have ones that are exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue, write_columns
from tinygen.lowering.kernels.support.epilogues.staircase import NONE, Staircase, ends_of_steps

_WORD = 31
_TRIALS = 33
_MOST_SHIFT = 22
_LARGEST = 2**31 - 1


class _Short(NamedTuple):
    """Constants of the formula above; int64 per channel, and two for the whole layer."""

    multiplier: np.ndarray
    offset: np.ndarray
    bits: int
    shift: int


def low_words_epilogue(staircase: Staircase | None, bias: np.ndarray, *, unsigned_bits: int = 0) -> Epilogue | None:
    """The epilogue of form `low_words`, or None where no such constants give every code.

    Args:
        staircase: for accumulators, which are a kernel's sums and biases; None where there is none.
        bias: int64 [channels].
        unsigned_bits: codes are all those of so many bits.
    """
    found = None if staircase is None else _fit(staircase, bias)
    if staircase is None or found is None:
        return None
    low, high = staircase.floor, staircase.ceiling
    context = {
        "form": "low_words",
        "low": low,
        "high": high,
        "clamped": (low, high) != (-128, 127),
        "unsigned_bits": unsigned_bits,
        "unit": 1,
        "output_zero": 0,
        "low_bits": found.bits,
    }
    columns = {"multiplier": found.multiplier, "shift": np.array([found.shift])}
    return write_columns(context, found.offset, columns, "offset with the bias")


def _fit(staircase: Staircase, bias: np.ndarray) -> _Short | None:
    lows, highs = staircase.lows - bias, staircase.highs - bias
    reach = np.maximum(np.abs(lows), np.abs(highs)).astype(np.int64)
    bits = min(_WORD - int(reach.max()).bit_length(), _WORD // 2)
    if bits < 1 or not float(staircase.real.min()) > 0.0:
        return None
    shift = min(int(np.floor(bits - np.log2(float(staircase.real.max())))) - 1, _MOST_SHIFT)
    if shift < 1:
        return None
    steps, at, below = ends_of_steps(staircase)
    targets = steps << (bits + shift)
    multipliers, offsets = [], []
    for channel, real in enumerate(staircase.real.tolist()):
        found = _fit_channel(
            round(real * 2.0 ** (bits + shift)),
            bits,
            _bounds(at[:, channel], targets, int(bias[channel])),
            _bounds(below[:, channel], targets, int(bias[channel])),
        )
        if found is None or (int(reach[channel]) * found[0] >> bits) + abs(found[1]) + 1 > _LARGEST:
            return None
        multipliers.append(found[0])
        offsets.append(found[1])
    return _Short(np.array(multipliers, np.int64), np.array(offsets, np.int64), bits, shift)


def _bounds(accumulators: np.ndarray, targets: np.ndarray, bias: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and the products that they are to reach, or not to reach."""
    there = accumulators != NONE
    return accumulators[there] - bias, targets[there]


def _fit_channel(
    centre: int, bits: int, at: tuple[np.ndarray, np.ndarray], below: tuple[np.ndarray, np.ndarray]
) -> tuple[int, int] | None:
    """(multiplier, offset): every sum of `at` reaches its product, none of `below` does."""
    room, found = 0, None
    for multiplier in range(max(centre - _TRIALS // 2, 0), centre + _TRIALS // 2 + 1):
        least = int((at[1] - at[0] * multiplier).max(initial=-(2**62)))
        most = int((below[1] - below[0] * multiplier).min(initial=2**62))
        least, most = (most - 1, most) if not len(at[0]) else (least, most)
        most = least + 1 if not len(below[0]) else most
        offset = -(-least >> bits)
        if (offset << bits) < most and most - least > room:
            room, found = most - least, (multiplier, offset)
    return found
