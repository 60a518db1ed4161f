"""Makes vectors.npz, what TensorFlow itself computes of a few clips: `python make.py WAV`, with TensorFlow installed.

The calls are those of get_dataset.py (mlcommons/tiny, benchmark/training/keyword_spotting, commit 1afd2c98), in double
and in single precision. vectors.npz was made with tensorflow-cpu 2.21.0 and numpy 2.4.6 on x86-64; its speech is
eSpeak NG's "yes" (voice en-us, 16 kHz).
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np

CONFIGS: dict[str, dict[str, Any]] = {
    "mlperf": {},
    "level": {"level": "full_scale"},
    "power_of_two": {"sample_rate_hz": 8000, "window_ms": 32, "hop_ms": 16, "channels": 13, "bands": 26},
    "odd_window": {
        "sample_rate_hz": 22050,
        "window_ms": 20,
        "hop_ms": 10,
        "channels": 20,
        "bands": 20,
        "lower_band_hz": 0.0,
        "upper_band_hz": 11025.0,
        "floor": 1e-3,
    },
}
"""What differs from MfccConfig's defaults."""


def clips(word: np.ndarray) -> dict[str, np.ndarray]:
    """int16 [16000] each, the same everywhere: integer arithmetic alone."""
    rng = np.random.default_rng(7)
    ramp = np.arange(16000, dtype=np.int64)
    return {
        "word": np.resize(np.concatenate([word, np.zeros(max(0, 16000 - len(word)), np.int16)]), 16000),
        "noise": rng.integers(-9000, 9001, 16000).astype(np.int16),
        "quiet": rng.integers(-3, 4, 16000).astype(np.int16),
        "clipped": np.where(rng.integers(0, 2, 16000) > 0, 32767, -32768).astype(np.int16),
        # A sawtooth that rises faster and faster.
        "sweep": ((ramp * ramp // 40) % 20001 - 10000).astype(np.int16),
        "noise_in_silence": np.where(ramp // 4000 == 2, rng.integers(-20000, 20001, 16000), 0).astype(np.int16),
    }


def tensorflow_mfcc(clip: np.ndarray, config: Any, dtype: Any) -> np.ndarray:
    """The "mfcc" branch of get_dataset.py [frames, channels]."""
    import tensorflow as tf

    sound = tf.cast(tf.constant(clip.astype(np.int64)), dtype)
    sound = sound / (tf.reduce_max(sound) if config.level == "peak" else tf.constant(32768, dtype))
    stfts = tf.signal.stft(sound, config.window_samples, config.hop_samples, None, tf.signal.hann_window)
    weights = tf.signal.linear_to_mel_weight_matrix(
        config.bands, stfts.shape[-1], config.sample_rate_hz, config.lower_band_hz, config.upper_band_hz, dtype=dtype
    )
    logs = tf.math.log(tf.tensordot(tf.abs(stfts), weights, 1) + tf.constant(config.floor, dtype))
    found: np.ndarray = tf.signal.mfccs_from_log_mel_spectrograms(logs)[..., : config.channels].numpy()
    return found


def main() -> None:
    import tensorflow as tf

    from tinygen.audio.mfcc_config import MfccConfig

    with wave.open(sys.argv[1]) as file:
        word = np.frombuffer(file.readframes(16000), np.int16)
    arrays = {"word": word}
    for name, values in CONFIGS.items():
        for clip, samples in clips(word).items():
            if name == "mlperf":
                arrays[f"{name}/{clip}/single"] = tensorflow_mfcc(samples, MfccConfig(**values), tf.float32)
            if name == "mlperf" or clip in ("word", "sweep"):
                arrays[f"{name}/{clip}/double"] = tensorflow_mfcc(samples, MfccConfig(**values), tf.float64)
    np.savez_compressed(Path(__file__).with_name("vectors.npz"), **arrays)


if __name__ == "__main__":
    main()
