"""Functions of int16 codes by interpolation, as LiteRT has them: a sample at every 128th code, and the last.

Source: tflite/kernels/internal/common.h, `LUTPopulateInt16` and `LUTLookup`. Samples are nudged by half of the error
that interpolation makes between them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygen.ir.fixed_point import round_half_away

STEPS = 512
STEP_BITS = 7
_LOW, _HIGH = -32768, 32767

Function = Callable[[np.ndarray], np.ndarray]
"""A function of real numbers that keeps their precision."""


def samples(
    function: Function, input_scale: float, output_scale: float, zero_point: int = 0, precision: type = np.float32
) -> np.ndarray:
    """The table of a function: int16 [513].

    Args:
        function: on real numbers of this precision.
        input_scale, output_scale: real value of a code.
        zero_point: of the input; that of the output is 0.
        precision: of LiteRT's arithmetic.
    """
    one = precision
    scale = one(input_scale)
    low, high = scale * one(_LOW - zero_point), scale * one(_HIGH - zero_point)
    step = (high - low) / one(STEPS)
    inverse = one(_HIGH - _LOW + 1) / (one(output_scale) * one(_HIGH) - one(output_scale) * one(_LOW))
    places = low + np.arange(STEPS + 1).astype(one) * step
    with np.errstate(all="ignore"):
        values = function(places) * inverse
        between = round_half_away(function(places[:-1] + step / one(2)) * inverse)
        last = round_half_away(function(np.array([high], one)) * inverse)
        known = round_half_away(values[:-1])
        interpolated = round_half_away((values[1:] + known) / one(2))
        nudged = known - round_half_away((interpolated - between) / one(2))
    # The difference of two infinities is no number, and converted to 0.
    found = np.nan_to_num(np.concatenate([nudged, last]), nan=0.0, posinf=_HIGH, neginf=_LOW)
    return np.clip(found, _LOW, _HIGH).astype(np.int16)


def look_up(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The function of int16 codes, as int64; slopes and sums wrap at 16 bits."""
    wide = table.astype(np.int64)
    index, offset = (codes >> STEP_BITS) + STEPS // 2, codes & ((1 << STEP_BITS) - 1)
    base = wide[index]
    slope = _wrap16(wide[index + 1] - base)
    return _wrap16(base + ((slope * offset + (1 << (STEP_BITS - 1))) >> STEP_BITS))


def _wrap16(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int16).astype(np.int64)
