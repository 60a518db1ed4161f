"""Log mel energies, operation for operation as the C computes them: see `tinygen.audio.mfcc`."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinygen.audio.log_mel_config import LEAST_POWER, OFFSET_DB, PRE_EMPHASIS_BITS, RANGE_DB, LogMelConfig
from tinygen.audio.mfcc import filter_bank, natural_log, powers_of
from tinygen.audio.mfcc_exact import FULL_SCALE
from tinygen.audio.mfcc_tables import LOG_BITS, tables_of

__all__ = ["LogMel", "LogMelConfig", "factors"]

_F = np.float32


def factors(config: LogMelConfig) -> tuple[float, float, float]:
    """What bands are multiplied by; and what takes a logarithm of LOG_BITS fraction bits to a feature: times, plus.

    Bands are of spectra twice as large as they should be, of samples times 2^PRE_EMPHASIS_BITS.
    """
    gain = 1 / (4 * config.window_samples * (FULL_SCALE << PRE_EMPHASIS_BITS) ** 2)
    return gain, 10 / math.log(10) / RANGE_DB / 2**LOG_BITS, OFFSET_DB / RANGE_DB


class LogMel:
    """A front end: samples in, features out. The sample before the first one counts as zero."""

    def __init__(self, config: LogMelConfig | None = None) -> None:
        self.config = config or LogMelConfig()
        self._tables = tables_of(self.config)
        self.reset()

    def reset(self) -> None:
        """Restores the initial state."""
        self._audio = np.zeros(1, np.int16)

    def process(self, samples: np.ndarray) -> np.ndarray:
        """The frames that these samples complete: a frame is there with the last sample of its last hop.

        Args:
            samples: int16 [any].

        Returns:
            float32 [frames, channels].
        """
        if samples.dtype != np.int16:
            raise TypeError(f"samples are int16, not {samples.dtype}")
        config = self.config
        self._audio = np.concatenate([self._audio, samples])
        hops = (len(self._audio) - 1) // config.hop_samples
        count = max(0, hops - config.window_hops + 1)
        frames = np.zeros((count, config.fft_size), _F)
        if count:
            # Whole numbers below 2^22, which float32 holds.
            audio = self._audio.astype(np.int32) << PRE_EMPHASIS_BITS
            audio = audio[1:] - (audio[:-1] - self._audio[:-1])
            spans = sliding_window_view(audio, config.window_samples)
            frames[:, : config.window_samples] = spans[:: config.hop_samples][:count]
            self._audio = self._audio[count * config.hop_samples :]
        return self._features(filter_bank(powers_of(frames, self._tables), self._tables))

    def _features(self, bands: np.ndarray) -> np.ndarray:
        gain, factor, offset = (_F(value) for value in factors(self.config))
        logs = natural_log(np.maximum(bands * gain, _F(LEAST_POWER))).astype(_F)
        features: np.ndarray = np.clip(logs * factor + offset, _F(0), _F(1))
        return features
