"""Sounds that reach every corner of a front end: loud, silent, clipped, pure, short, and speech."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Sound = Callable[[np.random.Generator, int, int], np.ndarray]
"""sound(generator, samples, sample rate in Hz) gives samples from -32768 to 32767, in any type."""


def _noise(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return rng.normal(0, rng.choice([3.0, 300.0, 8000.0]), count)


def _silence(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return np.zeros(count)


def _nearly_silence(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return rng.integers(-1, 2, count)


def _any_samples(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return rng.integers(-32768, 32768, count)


def _extremes(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return rng.choice([-32768, 32767], count)


def _clipped(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return 60000 * np.sin(2 * np.pi * rng.uniform(100, 900) * np.arange(count) / rate) + rng.normal(0, 2000, count)


def _sweep(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    frequency = np.geomspace(20, rate / 2, count)
    return rng.uniform(1000, 32767) * np.sin(2 * np.pi * np.cumsum(frequency) / rate)


def _square(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return np.where(np.sin(2 * np.pi * rng.uniform(30, rate / 4) * np.arange(count) / rate) > 0, 32767, -32768)


def _constant(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return np.full(count, rng.choice([-32768, 32767, 1000]))


def _impulses(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    sound = np.zeros(count)
    at = rng.integers(0, count, max(1, count // 400))
    sound[at] = rng.choice([-32768, 32767, -16384, -1, 1], at.size)
    return sound


def _lowest_among_quiet(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """-32768 in the middle of windows that are quiet else: it has no absolute value in 16 bits."""
    sound = rng.integers(-40, 41, count)
    sound[:: rate // 100] = -32768
    return sound


def _swelling(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    return rng.normal(0, 1, count) * np.exp(np.linspace(-1, 11, count))


SOUNDS: dict[str, Sound] = {
    sound.__name__.strip("_"): sound
    for sound in (
        _noise,
        _silence,
        _nearly_silence,
        _any_samples,
        _extremes,
        _clipped,
        _sweep,
        _square,
        _constant,
        _impulses,
        _lowest_among_quiet,
        _swelling,
    )
}


def make(name: str, seconds: float, rate: int = 16000, seed: int = 1) -> np.ndarray:
    """int16 samples of one sound."""
    rng = np.random.default_rng([seed, *name.encode()])
    return np.clip(np.round(SOUNDS[name](rng, round(seconds * rate), rate)), -32768, 32767).astype(np.int16)


def mixed(seconds: float, rate: int = 16000, seed: int = 1) -> np.ndarray:
    """All of them one after the other, `seconds` together."""
    return np.concatenate([make(name, seconds / len(SOUNDS), rate, seed) for name in SOUNDS])


def speech(index: int) -> np.ndarray:
    """A sentence by one of several voices, 16 kHz; needs espeakng-loader."""
    from tinygen.audio.speech import say

    sentences = ("Okay Nabu, turn on the light.", "What time is it, computer?", "Six seven eight nine ten.")
    voices = ("en-us", "en-gb", "de", "fr-fr", "es", "it")
    return say(
        sentences[index % 3],
        voice=voices[index % len(voices)],
        rate=110 + 23 * (index % 7),
        pitch=20 + 13 * (index % 6),
    )
