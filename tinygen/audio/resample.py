"""Sample rate conversion by any ratio, with a windowed-sinc low-pass filter in polyphase form.

Output sample n lies between input samples at n·down/up, where up/down is the ratio in lowest terms: there are `up`
different fractions, hence `up` short filters, each applied to every `down`-th position (Crochiere and Rabiner,
*Multirate Digital Signal Processing*, 1983, section 3.3). The filter is a sinc under a Kaiser window (Kaiser's
formulas for its width and shape are in Oppenheim and Schafer, *Discrete-Time Signal Processing*, section 7.5.3).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from tinygen.errors import TinygenError

# Flat up to 15/16 of the lower Nyquist frequency and 80 dB down from 17/16 on: for 16 kHz, whatever folds back lands
# above 7.5 kHz, where the micro front end's highest channel ends.
TRANSITION = 1 / 16
STOP_BAND_DB = 80.0


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """int16 samples at another rate: rounded, saturated, ceil(len · to_hz / from_hz) of them, without delay.

    Raises:
        TinygenError: a rate that is not positive.
    """
    if min(from_hz, to_hz) <= 0:
        raise TinygenError(f"cannot resample from {from_hz} Hz to {to_hz} Hz", fix="Sample rates are positive.")
    if from_hz == to_hz:
        return samples.astype(np.int16)
    common = math.gcd(from_hz, to_hz)
    return to_int16(_polyphase(samples.astype(np.float64), to_hz // common, from_hz // common))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Rounded to the nearest, saturated."""
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def _polyphase(samples: np.ndarray, up: int, down: int) -> np.ndarray:
    filters = _filters(up, down)
    taps = filters.shape[1]
    count = -(-len(samples) * up // down)
    output = np.empty(count)
    before = taps // 2 - 1
    padded = np.concatenate([np.zeros(before), samples, np.zeros(taps)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps)
    for first in range(min(up, count)):
        position, phase = divmod(first * down, up)
        places = output[first::up]
        places[:] = windows[position::down][: len(places)] @ filters[phase]
    return output


@functools.lru_cache(maxsize=8)
def _filters(up: int, down: int) -> np.ndarray:
    """(up, taps): the filter for each fraction p/up of an input sample; every one passes a constant unchanged."""
    cutoff = min(1.0, up / down)  # of the input's Nyquist frequency
    width = 2 * np.pi * TRANSITION * cutoff  # of the transition band, in radians per input sample
    half = math.ceil((STOP_BAND_DB - 8) / (2.285 * width) / 2)
    beta = 0.1102 * (STOP_BAND_DB - 8.7)
    offsets = np.arange(1 - half, half + 1)[None, :] - np.arange(up)[:, None] / up
    window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (offsets / half) ** 2))) / np.i0(beta)
    filters = cutoff * np.sinc(cutoff * offsets) * window
    filters = filters / filters.sum(axis=1, keepdims=True)
    filters.setflags(write=False)
    return filters
