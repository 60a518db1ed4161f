"""Mel-frequency cepstral coefficients, operation for operation as the C computes them.

Up to the filter bank in single precision. NumPy's float32 rounds each operation as IEEE 754 has it, and so do the
boards, with an FPU or without, as long as no compiler fuses a multiplication with an addition (-ffp-contract=off): the
codes are equal, not close. Logarithms and cosine transform are integers: a window of frames has them made anew for
each inference, and a board without an FPU has no time for that.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinygen.audio.mfcc_config import MfccConfig
from tinygen.audio.mfcc_exact import FULL_SCALE
from tinygen.audio.mfcc_tables import LN2, MfccTables, log_segments, quarters, radices, tables_of

__all__ = ["Mfcc", "MfccConfig", "natural_log", "square_root"]

_F = np.float32


class Mfcc:
    """A front end: samples in, coefficients out, by frame or as the window of frames that a model takes."""

    def __init__(self, config: MfccConfig | None = None) -> None:
        self.config = config or MfccConfig()
        self._tables = tables_of(self.config)
        self.reset()

    def reset(self) -> None:
        """Restores the initial state."""
        self._rest = np.zeros(0, np.int16)
        self._hops = np.zeros((0, self.config.hop_samples), np.int16)
        self._peaks = np.zeros(0, np.int16)
        self._bands = np.zeros((0, self.config.bands), _F)

    def process(self, samples: np.ndarray) -> np.ndarray:
        """The frames that these samples complete: a frame is there with the last sample of its last hop.

        With level "peak" it is the peak of the audio so far, at most of the length of a clip.

        Args:
            samples: int16 [any].

        Returns:
            float32 [frames, channels].
        """
        if samples.dtype != np.int16:
            raise TypeError(f"samples are int16, not {samples.dtype}")
        config = self.config
        audio = np.concatenate([self._rest, samples])
        count = len(audio) // config.hop_samples
        new = audio[: count * config.hop_samples].reshape(count, config.hop_samples)
        self._rest = audio[count * config.hop_samples :]
        hops = np.concatenate([self._hops, new])
        peaks = np.concatenate([self._peaks, new.max(axis=1)])
        bands = self._bands_of(self._frames(hops))
        gains = [self._gain(peaks[: len(peaks) - after]) for after in reversed(range(len(bands)))]
        self._hops = hops[max(0, len(hops) - config.window_hops + 1) :]
        self._peaks = peaks[-config.clip_hops :]
        self._bands = np.concatenate([self._bands, bands])[-config.frames :]
        return self._coefficients(bands, np.array(gains, _F).reshape(-1, 1))

    def window(self) -> np.ndarray | None:
        """The last frames, all normalised with the level of their clip.

        Returns:
            float32 [config.frames, channels]; None before there are enough frames.
        """
        if len(self._bands) < self.config.frames:
            return None
        return self._coefficients(self._bands, np.full((1, 1), self._gain(self._peaks)))

    def _frames(self, hops: np.ndarray) -> np.ndarray:
        """int16 [frames, fft_size]: zeros where the window is zero."""
        config = self.config
        count = max(0, len(hops) - config.window_hops + 1)
        frames = np.zeros((count, config.fft_size), np.int16)
        if count:
            spans = sliding_window_view(hops.reshape(-1), config.window_samples)
            frames[:, : config.window_samples] = spans[:: config.hop_samples][:count]
        return frames

    def _gain(self, peaks: np.ndarray) -> np.float32:
        """What bands are multiplied by; a half, since they are of spectra twice as large as they should be."""
        if self.config.level == "full_scale":
            return _F(0.5 / FULL_SCALE)
        peak = abs(int(peaks[-self.config.clip_hops :].max())) or 1
        return _F(0.5) / _F(peak)

    def _bands_of(self, frames: np.ndarray) -> np.ndarray:
        """Twice the filter bank's output, float32 [frames, bands]."""
        return filter_bank(square_root(powers_of(frames.astype(_F), self._tables)), self._tables)

    def _coefficients(self, bands: np.ndarray, gains: np.ndarray) -> np.ndarray:
        """float32 of 20 fraction bits, from integers: LOG_BITS and COSINE_BITS are there more, and 31 are dropped."""
        logs = natural_log(bands * gains + _F(self.config.floor)).astype(np.int64)
        sums = logs @ self._tables.cosines.T.astype(np.int64)
        return ((sums + (1 << 30)) >> 31).astype(_F) * _F(2.0**-20)


def powers_of(frames: np.ndarray, tables: MfccTables) -> np.ndarray:
    """Of twice the real FFT's bins that count, from the complex FFT of pairs of samples.

    Args:
        frames: float32 [frames, fft_size].

    Returns:
        float32 [frames, bins].
    """
    real, imaginary = _transform(frames * tables.window, tables.order, tables.twiddles)
    bins = tables.first_bin + np.arange(len(tables.rises))
    mirrored = real.shape[1] - bins
    even_r, even_i = real[:, bins] + real[:, mirrored], imaginary[:, bins] - imaginary[:, mirrored]
    odd_r, odd_i = real[:, bins] - real[:, mirrored], imaginary[:, bins] + imaginary[:, mirrored]
    turned_r, turned_i = _times(odd_r, odd_i, tables.turns[:, 0], tables.turns[:, 1])
    x, y = even_r + turned_r, even_i + turned_i
    powers: np.ndarray = x * x + y * y
    return powers


def filter_bank(spectra: np.ndarray, tables: MfccTables) -> np.ndarray:
    """Of float32 [frames, bins]: float32 [frames, bands]."""
    bands = np.zeros((len(spectra), len(tables.interval_bins) - 1), _F)
    rising = np.zeros(len(spectra), _F)
    at = 0
    for interval, count in enumerate(tables.interval_bins.tolist()):
        rise, fall = np.zeros((2, len(spectra)), _F)
        for value, weight in zip(spectra.T[at : at + count], tables.rises[at : at + count], strict=True):
            up = value * weight
            rise = rise + up
            fall = fall + (value - up)
        at += count
        if interval > 0:
            bands[:, interval - 1] = rising + fall
        rising = rise
    return bands


def _times(a_r: np.ndarray, a_i: np.ndarray, b_r: np.ndarray, b_i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A complex product."""
    return a_r * b_r - a_i * b_i, a_r * b_i + a_i * b_r


def _transform(frames: np.ndarray, order: np.ndarray, twiddles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The complex FFT of [frames, 2 M] whose even samples are real parts; two of [frames, M]."""
    real, imaginary = frames[:, 0::2][:, order], frames[:, 1::2][:, order]
    size = len(order)
    if radices(size)[0] == 2:
        real, imaginary = _of_two(real), _of_two(imaginary)
    else:
        real, imaginary = _of_four(real, imaginary, 1, None)
    row = 0
    for quarter in quarters(size):
        real, imaginary = _of_four(real, imaginary, quarter, twiddles[row : row + quarter])
        row += quarter
    return real, imaginary


def _of_two(values: np.ndarray) -> np.ndarray:
    """The first stage, where its radix is 2."""
    a, b = values[:, 0::2], values[:, 1::2]
    return np.stack([a + b, a - b], -1).reshape(values.shape)


def _of_four(
    real: np.ndarray, imaginary: np.ndarray, quarter: int, twiddles: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """A stage of radix 4."""
    shape = (len(real), real.shape[1] // (4 * quarter), 4, quarter)
    r = list(np.moveaxis(real.reshape(shape), 2, 0))
    i = list(np.moveaxis(imaginary.reshape(shape), 2, 0))
    if twiddles is not None:
        for k in (1, 2, 3):
            r[k], i[k] = _times(r[k], i[k], twiddles[:, k - 1, 0], twiddles[:, k - 1, 1])
    sum_r, sum_i, rest_r, rest_i = r[0] + r[2], i[0] + i[2], r[0] - r[2], i[0] - i[2]
    pair_r, pair_i = r[1] + r[3], i[1] + i[3]
    # -i (a1 - a3)
    turn_r, turn_i = i[1] - i[3], r[3] - r[1]
    out_r = np.stack([sum_r + pair_r, rest_r + turn_r, sum_r - pair_r, rest_r - turn_r], 2)
    out_i = np.stack([sum_i + pair_i, rest_i + turn_i, sum_i - pair_i, rest_i - turn_i], 2)
    return out_r.reshape(real.shape), out_i.reshape(real.shape)


def square_root(x: np.ndarray) -> np.ndarray:
    """float32, of zero and normal positive ones below 1e37; relative error below 3e-7.

    Three steps of Newton's method for 1 / sqrt(x), from a first guess with an error of at most 3.5 %.
    """
    guess = (np.uint32(0x5F3759DF) - (x.view(np.uint32) >> np.uint32(1))).view(_F)
    half = x * _F(0.5)
    for _ in range(3):
        guess = guess * (_F(1.5) - half * guess * guess)
    root: np.ndarray = x * guess
    return root


def natural_log(x: np.ndarray) -> np.ndarray:
    """Of normal positive float32: int32, 23 fraction bits; error below 5e-7.

    x = 2^n m: n ln 2, and ln m from a parabola for each 128th of [1, 2).
    """
    bits = x.view(np.int32).astype(np.int64)
    exponent, mantissa = (bits >> 23) - 127, bits & 0x7FFFFF
    value, slope, bend = np.moveaxis(log_segments()[mantissa >> 16], -1, 0)
    place = mantissa & 0xFFFF
    slope = slope + ((place * bend + 0x8000) >> 16)
    logarithm: np.ndarray = (exponent * LN2 + value + ((place * slope + 0x8000) >> 16)).astype(np.int32)
    return logarithm
