"""The audio front end of TensorFlow Lite Micro ("micro frontend"), in integers: what the C must compute, bit for bit.

    frames = MicroFrontend(MicroFrontendConfig()).process(samples)     # int16 -> uint16 (frames, channels)

Window, FFT, energy per bin, mel filter bank, square root, noise reduction, PCAN, logarithm. All frames of a call go
through each step together, but for the noise estimate, which goes from frame to frame.
Source: tensorflow/lite/experimental/microfrontend/lib, as pymicro-features 2.0.2 builds it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.audio.micro_tables import (
    GAIN_INTERVALS,
    LOG_BITS,
    LOG_E,
    LOG_SEGMENT_BITS,
    NOISE_BITS,
    SHRUNK_BITS,
    SNR_BITS,
    WINDOW_BITS,
    MicroTables,
    make_tables,
)
from tinygen.errors import TinygenError

__all__ = ["FEATURE_SCALE", "MicroFrontend", "MicroFrontendConfig", "check_samples", "features"]

FEATURE_SCALE = 10 / 256
"""A raw feature times this is what pymicro-features gives, and what microWakeWord's models were trained on."""

_FRAMES = 256
"""Frames at a time: their FFTs fit a CPU's cache."""
_U32 = np.uint64(0xFFFFFFFF)


class MicroFrontend:
    """A front end with its state: samples of the next frame, and the noise estimate of each channel.

    Raises:
        TinygenError: inconsistent parameters.
    """

    def __init__(self, config: MicroFrontendConfig | None = None) -> None:
        self.config = config or MicroFrontendConfig()
        self._tables = make_tables(self.config)
        self.reset()

    def reset(self) -> None:
        """Restores the initial state."""
        self._pending = np.zeros(0, np.int16)
        self._noise = np.zeros(self.config.channels, np.uint64)

    def process(self, samples: np.ndarray) -> np.ndarray:
        """The frames that are complete with these samples.

        Args:
            samples: int16, any number of them.

        Returns:
            uint16 [frames, channels]; the first frame comes with sample `window_samples`, then one every `hop_samples`.

        Raises:
            TinygenError: the samples are no int16 sequence.
        """
        config = self.config
        pending = np.concatenate([self._pending, check_samples(samples)])
        frames = max(0, (pending.size - config.window_samples) // config.hop_samples + 1)
        self._pending = pending[frames * config.hop_samples :].copy()
        parts = [self._frames(windows) for windows in _windows(pending, config, frames)]
        return np.concatenate(parts) if parts else np.zeros((0, config.channels), np.uint16)

    def _frames(self, windows: np.ndarray) -> np.ndarray:
        signal = spectrum(windows, self._tables)
        if self.config.noise_reduction:
            signal, noise = self._reduce_noise(signal)
            if self.config.pcan:
                signal = _normalize(signal, noise, self.config, self._tables)
        if self.config.log:
            signal = _logarithm(signal, self.config, self._tables)
        return np.minimum(signal, np.uint64(0xFFFF)).astype(np.uint16)

    def _reduce_noise(self, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The signal without its noise; and the noise, `smoothing_bits` fraction bits. uint64 [frames, channels]."""
        bits = np.uint64(self.config.smoothing_bits)
        smoothing = self._tables.smoothing.astype(np.uint64)
        keep = np.uint64(1 << NOISE_BITS) - smoothing
        scaled = (signal << bits) & _U32
        noise = scaled * smoothing
        estimate, shift = self._noise, np.uint64(NOISE_BITS)
        for row in noise:
            row += estimate * keep
            row >>= shift
            estimate = row
        self._noise = estimate.copy()
        left = (scaled - np.minimum(noise, scaled)) >> bits
        least = (signal * np.uint64(self._tables.min_signal_remaining)) >> shift
        return np.maximum(left, least), noise


def features(samples: np.ndarray, config: MicroFrontendConfig | None = None) -> np.ndarray:
    """The features of a whole recording, by a front end in its initial state.

    They are computed by the generated C, built for this computer, or by NumPy if there is no compiler.

    Args:
        samples: int16, one channel.

    Returns:
        uint16 [frames, channels].

    Raises:
        TinygenError: the samples are no int16 sequence.
    """
    from tinygen.audio.native import host_toolchain, native_features  # builds on this module

    config = config or MicroFrontendConfig()
    check_samples(samples)
    toolchain = host_toolchain()
    if toolchain is None:
        return MicroFrontend(config).process(samples)
    return native_features(samples, config, toolchain)


def check_samples(samples: np.ndarray) -> np.ndarray:
    """The samples as they are.

    Raises:
        TinygenError: they are no sequence of int16.
    """
    values = np.asarray(samples)
    if values.dtype != np.int16 or values.ndim != 1:
        raise TinygenError(
            f"samples are {values.dtype} {list(values.shape)}",
            where="front end",
            fix="Give one channel of int16: for floats from -1 to 1, np.clip(np.round(x * 32768), -32768, 32767).",
        )
    return values


def _windows(samples: np.ndarray, config: MicroFrontendConfig, frames: int) -> Iterator[np.ndarray]:
    """int16 [up to _FRAMES, window_samples] at a time."""
    if frames:
        every = np.lib.stride_tricks.sliding_window_view(samples, config.window_samples)[:: config.hop_samples]
        for start in range(0, frames, _FRAMES):
            yield every[start : min(start + _FRAMES, frames)]


def spectrum(windows: np.ndarray, tables: MicroTables) -> np.ndarray:
    """The filter bank's output.

    Args:
        windows: int16 [frames, window_samples].

    Returns:
        uint64 [frames, channels], values below 2**32: a channel's magnitude over fft_size, times 64.
    """
    faded = ((windows.astype(np.int32) * tables.window) >> WINDOW_BITS).astype(np.int16)
    # As an int16, -32768 has no absolute value and counts for nothing.
    loudest = np.maximum(np.abs(faded).max(axis=1), 0)
    headroom = 15 - _bits(loudest)
    column = np.zeros((tables.fft.size, windows.shape[0]), np.int16)
    column[: windows.shape[1]] = (faded.astype(np.int32) << headroom[:, None]).astype(np.int16).T
    real, imag = tables.fft(column)
    energy = (real.astype(np.int64) ** 2 + imag.astype(np.int64) ** 2).T
    return _square_root(_filtered(energy, tables)) >> headroom[:, None].astype(np.uint64)


def _filtered(energy: np.ndarray, tables: MicroTables) -> np.ndarray:
    """Energies [frames, bins] to int64 [frames, channels], below 2**53."""
    bank = tables.filters
    used = energy[:, bank.first_bin : bank.first_bin + bank.weights.size]
    ends = np.cumsum(bank.widths)
    sums = [_band_sums(used * part, ends) for part in (bank.weights, bank.rests)]
    return sums[0][:, 1:] + sums[1][:, :-1]


def _band_sums(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums of neighbouring columns up to each end."""
    totals = np.concatenate([np.zeros((values.shape[0], 1), np.int64), np.cumsum(values, axis=1)], axis=1)
    return np.diff(totals[:, ends], axis=1, prepend=0)


def _square_root(values: np.ndarray) -> np.ndarray:
    """Rounded to the nearest; values below 2**32 have a root of at most 65535. uint64."""
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    # float64 holds the values exactly and rounds their root once, so that it is one too large at most.
    root -= root * root > values
    rounded = root + (values - root * root > root)
    return np.where(values >> 32 == 0, np.minimum(rounded, 0xFFFF), rounded).astype(np.uint64)


def _bits(values: np.ndarray) -> np.ndarray:
    """How many bits it takes to write each value, 0 .. 2**53: one more than the logarithm; 0 for 0."""
    return np.frexp(values.astype(np.float64))[1]


def _normalize(signal: np.ndarray, noise: np.ndarray, config: MicroFrontendConfig, tables: MicroTables) -> np.ndarray:
    """PCAN: the signal times a gain that falls with the noise, then a square root's likeness, 6 fraction bits."""
    assert tables.gain is not None
    gain = _gain(noise.astype(np.int64), tables.gain.astype(np.int64))
    snr = ((signal * gain.astype(np.uint64)) >> np.uint64(config.snr_shift)) & _U32
    shrunk = ((snr * snr) & _U32) >> np.uint64(2 + 2 * SNR_BITS - SHRUNK_BITS)
    linear = (snr >> np.uint64(SNR_BITS - SHRUNK_BITS)) - np.uint64(1 << SHRUNK_BITS)
    return np.where(snr < 2 << SNR_BITS, shrunk, linear)


def _gain(noise: np.ndarray, table: np.ndarray) -> np.ndarray:
    """By a parabola in the interval between powers of two. int64."""
    interval = _bits(noise)
    row = table[np.clip(interval, 2, GAIN_INTERVALS)]
    position = (
        np.where(interval < 11, noise << np.maximum(11 - interval, 0), noise >> np.maximum(interval - 11, 0)) & 0x3FF
    )
    slope = ((row[..., 2] * position) >> 5) + (row[..., 1] << 5)
    curve = row[..., 0] + ((slope * position + (1 << 14)) >> 15)
    return np.where(noise <= 2, table[0][np.minimum(noise, 2)], curve.astype(np.int16))


def _logarithm(signal: np.ndarray, config: MicroFrontendConfig, tables: MicroTables) -> np.ndarray:
    """The natural logarithm of the corrected signal, times 2**log_scale_shift; 0 where that is 0 or 1. uint64."""
    bits = config.correction_bits
    value = ((signal << np.uint64(bits)) & _U32 if bits >= 0 else signal >> np.uint64(-bits)).astype(np.int64)
    whole = np.maximum(_bits(value) - 1, 0)
    rest = value - (np.int64(1) << whole)
    part = np.where(whole < LOG_BITS, rest << np.maximum(LOG_BITS - whole, 0), rest >> np.maximum(whole - LOG_BITS, 0))
    log2 = (whole << LOG_BITS) + part + _log_correction(np.maximum(part, 0), tables.log.astype(np.int64))
    half = 1 << (LOG_BITS - 1)
    loge = (log2 * LOG_E + half) >> LOG_BITS
    scaled = ((loge << config.log_scale_shift) + half) >> LOG_BITS
    return np.where(value > 1, scaled, 0).astype(np.uint64)


def _log_correction(part: np.ndarray, table: np.ndarray) -> np.ndarray:
    segment_bits = LOG_BITS - LOG_SEGMENT_BITS
    segment = part >> segment_bits
    left, right = table[segment], table[segment + 1]
    # Over 2**16, although a segment is 2**9 wide: the slope is 128 times too small. That is how it is.
    return left + (((right - left) * (part - (segment << segment_bits))) >> LOG_BITS)
