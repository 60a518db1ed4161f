"""Requantization of small sums with steep scales in one multiplication that returns its upper word.

Where a sum has few products with small weights, its scale may be a quarter of a code or more, and its multiplier for

    code = saturate((offset + (sum * 2^up * multiplier >> 32)) >> shift)

leaves no bits below the code unless the sum is raised, as `up` says: with 0 it is the formula of `staircase`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue, write_columns
from tinygen.lowering.kernels.support.epilogues.staircase import Staircase, fit

LONG_FORMS = ("plain", "stepwise", "mixed", "rescale", "rescale_high")
"""Forms of a layer's epilogue with products of 64 bits."""
_UP = 16
_WORD = 31


def high_word_epilogue(staircase: Staircase | None, bias: np.ndarray, *, unsigned_bits: int = 0) -> Epilogue | None:
    """The epilogue of form `high_word`, or None where no such constants give every code.

    Args:
        staircase: for accumulators, which are a kernel's sums and biases; None where there is none.
        bias: int64 [channels].
        unsigned_bits: codes are all those of so many bits.
    """
    if staircase is None or staircase.unit != 1:
        return None
    up = min(_UP, _WORD - 1 - int(staircase.reach.max()).bit_length())
    found = fit(replace(staircase, unit=1 << up)) if up > 0 else None
    if found is None or np.any(found.moved % (1 << up)):
        return None
    low, high = staircase.floor, staircase.ceiling
    context = {
        "form": "high_word",
        "low": low,
        "high": high,
        "clamped": (low, high) != (-128, 127),
        "unsigned_bits": unsigned_bits,
        "unit": 1,
        "output_zero": 0,
        "sum_up": up,
    }
    columns = {"multiplier": found.multiplier, "offset": found.offset, "shift": np.array([found.shift])}
    return write_columns(context, bias + (found.moved >> up), columns)
