"""The tables of the micro front end, computed from its parameters.

They are reckoned in single precision, step by step as pymicro-features 2.0.2 does, because what is rounded to integers
depends on it. (TensorFlow's own sources reckon some of them in double, and C libraries differ in log1pf: tables then
differ here and there by one.)
Sources: rhasspy/pymicro-features, tensorflow/lite/experimental/microfrontend/lib/{window_util,filterbank_util,
noise_reduction_util,pcan_gain_control_util,log_lut}.cc.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygen.audio.fixed_fft import FixedFft, make_fft
from tinygen.audio.log1p import log1p
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.errors import TinygenError

WINDOW_BITS = 12
FILTER_BITS = 12
NOISE_BITS = 14
SNR_BITS = 12
SHRUNK_BITS = 6
"""Fraction bits of what PCAN gives."""
LOG_BITS = 16
LOG_SEGMENT_BITS = 7
LOG_E = 45426
"""ln 2 in 16 fraction bits."""
GAIN_INTERVALS = 32

_f32 = np.float32


@dataclass(frozen=True)
class FilterBank:
    """Triangles on the mel scale. Band b rises to the centre of channel b and falls behind it: a bin's energy counts
    `weight` in the channel before and `rest` in the next one.

    Attributes:
        first_bin: where band 0 begins.
        widths: bins of each band, [channels + 1]; they follow each other without gaps. Some may be empty.
        weights: int16 [bins], 12 fraction bits: what a bin of band b counts in channel b - 1.
        rests: int16 [bins], what it counts in channel b: 1 - weight, rounded by itself.
    """

    first_bin: int
    widths: np.ndarray
    weights: np.ndarray
    rests: np.ndarray


@dataclass(frozen=True)
class MicroTables:
    """Everything that does not change while the front end runs.

    Attributes:
        window: int16 [window_samples], 12 fraction bits.
        fft: of fft_size samples.
        filters: the filter bank.
        smoothing: int64 [channels], 14 fraction bits.
        min_signal_remaining: 14 fraction bits.
        gain: int16 [33, 3] PCAN's gain: the first row holds the values at 0, 1, 2; row i those of a parabola over noise
            from 2**(i - 1) to 2**i (rows 1 and 2 are not used). None without PCAN.
        log: uint16 [129], the logarithm's correction.
    """

    window: np.ndarray
    fft: FixedFft
    filters: FilterBank
    smoothing: np.ndarray
    min_signal_remaining: int
    gain: np.ndarray | None
    log: np.ndarray


def make_tables(config: MicroFrontendConfig) -> MicroTables:
    """The tables for a front end.

    Raises:
        TinygenError: the bands do not fit the spectrum, or PCAN's gain its 16 bits.
    """
    smoothing = [_fixed(config.even_smoothing), _fixed(config.odd_smoothing)]
    return MicroTables(
        window=_window(config.window_samples),
        fft=make_fft(config.fft_size),
        filters=_filter_bank(config),
        smoothing=np.array([smoothing[i % 2] for i in range(config.channels)], np.int64),
        min_signal_remaining=_fixed(config.min_signal_remaining),
        gain=_gain_table(config) if config.pcan else None,
        log=_log_table(),
    )


def _fixed(share: float) -> int:
    return int(_f32(share) * _f32(1 << NOISE_BITS))


def _window(samples: int) -> np.ndarray:
    """A Hann window, sampled between its ends."""
    step = _f32(math.pi) * _f32(2) / _f32(samples)
    phases = (step * (np.arange(samples, dtype=np.float32) + _f32(0.5))).tolist()
    # math's double functions, rounded once: NumPy's in single precision are not the same on every computer.
    cosines = np.array([math.cos(phase) for phase in phases], np.float32)
    values = _f32(0.5) - _f32(0.5) * cosines
    return np.floor(values * _f32(1 << WINDOW_BITS) + _f32(0.5)).astype(np.int16)


def _mel(hz: np.float32) -> np.float32:
    return _f32(1127.0) * log1p(hz / _f32(700.0))


def _filter_bank(config: MicroFrontendConfig) -> FilterBank:
    bands = config.channels + 1
    low, high = _mel(_f32(config.lower_band_hz)), _mel(_f32(config.upper_band_hz))
    spacing = (high - low) / _f32(bands)
    centres = [low + spacing * _f32(band + 1) for band in range(bands)]
    hz_per_bin = _f32(0.5) * _f32(config.sample_rate_hz) / _f32(config.fft_size // 2)
    # Bin 0 never counts.
    first_bin = int(_f32(1.5) + _f32(config.lower_band_hz) / hz_per_bin)
    widths, weights, rests = [], [], []
    bin_index, left = first_bin, low
    for centre in centres:
        start = bin_index
        while _mel(_f32(bin_index) * hz_per_bin) <= centre:
            weight = (centre - _mel(_f32(bin_index) * hz_per_bin)) / (centre - left)
            weights.append(_weight(weight))
            rests.append(_weight(_f32(1.0) - weight))
            bin_index += 1
        widths.append(bin_index - start)
        left = centre
    if bin_index > config.fft_size // 2:
        raise TinygenError(
            f"the highest band ends in bin {bin_index - 1} of {config.fft_size // 2}",
            where="front end: upper_band_hz",
            fix=f"Set it lower: a bin is {float(hz_per_bin):g} Hz wide.",
        )
    return FilterBank(first_bin, np.array(widths), np.array(weights, np.int16), np.array(rests, np.int16))


def _weight(value: np.float32) -> int:
    return math.floor(value * _f32(1 << FILTER_BITS) + _f32(0.5))


def _gain_table(config: MicroFrontendConfig) -> np.ndarray:
    table = np.zeros((GAIN_INTERVALS + 1, 3), np.int64)
    table[0] = [_gain(config, x) for x in range(3)]
    for interval in range(2, GAIN_INTERVALS + 1):
        start = 1 << (interval - 1)
        end = 2 * start - (interval == GAIN_INTERVALS)
        y0, y1, y2 = (_gain(config, x) for x in (start, start + start // 2, end))
        linear = 4 * (y1 - y0) - (y2 - y0)
        table[interval] = y0, linear, y2 - y0 - linear
    if not _fits(table):
        raise TinygenError(
            "PCAN's gain does not fit 16 bits: near its largest values it would wrap around",
            where="front end: pcan_gain_bits",
            fix="Set pcan_gain_bits lower, or pcan_offset higher.",
        )
    return table.astype(np.int16)


def _fits(table: np.ndarray) -> bool:
    """Whether no parabola leaves 16 bits, nor what is computed on the way 32."""
    position = np.arange(1024)
    value, linear, curvature = table[2:, 0, None], table[2:, 1, None], table[2:, 2, None]
    product = (((curvature * position) >> 5) + linear * 32) * position + (1 << 14)
    gain = value + (product >> 15)
    narrow = np.abs(table).max() <= 32767 and gain.min() >= 0 and gain.max() <= 32767
    return bool(narrow and np.abs(product).max() < 2**31)


def _gain(config: MicroFrontendConfig, x: int) -> int:
    """2**gain_bits / (noise + offset)**strength, at most 32767; `x` is the noise in `noise_bits` fraction bits."""
    noise = _f32(x) / _f32(1 << config.noise_bits)
    power = _f32(math.pow(float(noise + _f32(config.pcan_offset)), -float(_f32(config.pcan_strength))))
    gain = _f32(1 << config.pcan_gain_bits) * power
    return 32767 if gain > 32767 else int(gain + _f32(0.5))


def _log_table() -> np.ndarray:
    """How far log2(1 + x) lies above x, in 16 fraction bits, at 0, 1/128, ... 1."""
    segments = 1 << LOG_SEGMENT_BITS
    steps = [i / segments for i in range(segments + 1)]
    return np.array([round((math.log2(1 + x) - x) * (1 << LOG_BITS)) for x in steps], np.uint16)
