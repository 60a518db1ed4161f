"""Mel-frequency cepstral coefficients in double precision, straight from their definitions: what the C is held against.

The definitions are TensorFlow's (`tf.signal.stft`, `hann_window`, `linear_to_mel_weight_matrix` and
`mfccs_from_log_mel_spectrograms`, called as in mlcommons/tiny, benchmark/training/keyword_spotting/get_dataset.py).
"""

from __future__ import annotations

import numpy as np

from tinygen.audio.log_mel_config import LEAST_POWER, OFFSET_DB, PRE_EMPHASIS_BITS, RANGE_DB, LogMelConfig
from tinygen.audio.mfcc_config import MfccConfig

MelConfig = MfccConfig | LogMelConfig
"""Of front ends with mel bands."""
FULL_SCALE = 32768
_MEL_BREAK_HZ = 700.0
_MEL_FACTOR = 1127.0


def hann_window(length: int) -> np.ndarray:
    """Its weights [length], as TF has them: periodic where the length is even, else the last is the first."""
    period = length if length % 2 == 0 else length - 1
    weights: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / period)
    return weights


def hamming_window(length: int) -> np.ndarray:
    """Its weights [length], symmetric: the last is the first."""
    weights: np.ndarray = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(length) / max(length - 1, 1))
    return weights


def mel(hz: np.ndarray | float) -> np.ndarray:
    """Frequencies on the mel scale (HTK's: Young et al., "The HTK Book", 2006, section 5.4)."""
    scaled: np.ndarray = _MEL_FACTOR * np.log1p(np.asarray(hz, np.float64) / _MEL_BREAK_HZ)
    return scaled


def mel_edges(config: MelConfig) -> np.ndarray:
    """Where bands begin, peak and end, in mel [bands + 2]: band b has the edges b, b + 1 and b + 2."""
    lowest, highest = mel(config.lower_band_hz), mel(config.upper_band_hz)
    return np.linspace(float(lowest), float(highest), config.bands + 2)


def bin_mels(config: MelConfig) -> np.ndarray:
    """The FFT's bins, in mel [fft_size / 2 + 1]."""
    return mel(np.arange(config.fft_size // 2 + 1) * (config.sample_rate_hz / config.fft_size))


def mel_weights(config: MelConfig) -> np.ndarray:
    """Of each bin in each band [bins, bands]: triangles on the mel scale. Bin 0, the mean, is in none."""
    edges, mels = mel_edges(config), bin_mels(config)[:, np.newaxis]
    begin, peak, end = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((mels - begin) / (peak - begin), (end - mels) / (end - peak)))
    weights[0] = 0.0
    return weights


def cosine_weights(config: MfccConfig) -> np.ndarray:
    """The DCT-II [channels, bands] with the factor that makes the coefficients of white noise equally large."""
    angles = np.outer(np.arange(config.channels), np.arange(config.bands) + 0.5) * np.pi / config.bands
    weights: np.ndarray = 2 * np.cos(angles) / np.sqrt(2 * config.bands)
    return weights


def mfcc_exact(config: MfccConfig, clip: np.ndarray) -> np.ndarray:
    """Coefficients of all whole frames of one clip.

    Args:
        clip: int16 [samples].

    Returns:
        float64 [frames, channels].
    """
    count = max(0, 1 + (len(clip) - config.window_samples) // config.hop_samples)
    starts = np.arange(count)[:, np.newaxis] * config.hop_samples
    frames = clip[starts + np.arange(config.window_samples)].astype(np.float64) / divisor(config, clip)
    spectra = np.abs(np.fft.rfft(frames * hann_window(config.window_samples), config.fft_size))
    logs = np.log(spectra @ mel_weights(config) + config.floor)
    coefficients: np.ndarray = logs @ cosine_weights(config).T
    return coefficients


def divisor(config: MfccConfig, clip: np.ndarray) -> int:
    """What samples are divided by. Of silence get_dataset.py has no features (0 / 0); here its peak is 1."""
    if config.level == "full_scale":
        return FULL_SCALE
    # The largest sample, not the largest magnitude; where all are negative, what is left of its sign is lost in |X|.
    return abs(int(clip.max())) or 1


def log_mel_exact(config: LogMelConfig, clip: np.ndarray) -> np.ndarray:
    """Log mel energies of all whole frames of a clip, before which there is a zero.

    Args:
        clip: int16 [samples].

    Returns:
        float64 [frames, channels], 0 to 1.
    """
    sound = np.concatenate([[0.0], clip / FULL_SCALE])
    sound = sound[1:] - (1 - 2.0**-PRE_EMPHASIS_BITS) * sound[:-1]
    count = max(0, 1 + (len(clip) - config.window_samples) // config.hop_samples)
    starts = np.arange(count)[:, np.newaxis] * config.hop_samples
    frames = sound[starts + np.arange(config.window_samples)] * hamming_window(config.window_samples)
    powers = np.abs(np.fft.rfft(frames, config.fft_size)) ** 2 / config.window_samples
    decibels = 10 * np.log10(np.maximum(powers @ mel_weights(config), LEAST_POWER))
    features: np.ndarray = np.clip((decibels + OFFSET_DB) / RANGE_DB, 0, 1)
    return features
