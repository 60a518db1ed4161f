"""Noise of several colours, speech babble, and speech in noise at a given signal-to-noise ratio.

Noise is float64 of unit power; speech and mixtures are int16 samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygen.audio.resample import to_int16
from tinygen.audio.speech import SAMPLE_RATE_HZ, say
from tinygen.audio.speech import variants as all_variants
from tinygen.errors import TinygenError

BABBLE = (
    "The train to the coast leaves from the other platform this afternoon, unless the rain has reached the bridge.",
    "She had bought two pounds of apples and a newspaper, and could not remember where she had left the car.",
    "Nobody in the office knew how the machine worked, but everyone agreed that it had to be switched on at nine.",
    "When the meeting was over we walked along the river and talked about the music we used to listen to.",
    "My brother says that the soup needs more salt, and that the kitchen window should have stayed open.",
    "Every morning at six the baker puts the first loaves on the shelf and turns the radio a little louder.",
)


def white(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` samples of white Gaussian noise: the same power at every frequency."""
    return _unit_power(rng.standard_normal(count))


def pink(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` samples of noise whose power falls by 3 dB per octave."""
    return _coloured(count, rng, exponent=-0.5)


def brown(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` samples of noise whose power falls by 6 dB per octave."""
    return _coloured(count, rng, exponent=-1.0)


def babble(count: int, rng: np.random.Generator, *, talkers: int = 6) -> np.ndarray:
    """`count` samples of `talkers` synthesised voices that speak at once, each over and over from its own start.

    Raises:
        TinygenError: no `espeakng-loader`.
    """
    total = np.zeros(count)
    variants = all_variants()
    for talker in range(talkers):
        said = say(
            BABBLE[talker % len(BABBLE)],
            voice=("en-us", "en-gb")[talker % 2],
            variant=variants[int(rng.integers(len(variants)))],
            rate=int(rng.integers(140, 220)),
            pitch=int(rng.integers(20, 80)),
        )
        start = int(rng.integers(len(said)))
        total += _unit_power(np.resize(np.roll(said, -start), count).astype(np.float64))
    return _unit_power(total)


NOISES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "white": white,
    "pink": pink,
    "brown": brown,
    "babble": babble,
}


def at_snr(speech: np.ndarray, noise: np.ndarray, db: float) -> np.ndarray:
    """Speech plus noise, `db` decibels between their powers: int16, saturated, as long as the speech.

    The speech keeps its level (its power is taken over its whole length); the noise is repeated or cut to its length.

    Raises:
        TinygenError: the speech or the noise is silent or empty, so that no level of noise gives this ratio.
    """
    if not np.any(speech) or not np.any(noise):
        raise TinygenError("there is no signal-to-noise ratio with silence", where="mixing")
    signal = speech.astype(np.float64)
    power = np.mean(signal**2) / 10 ** (db / 10)
    return to_int16(signal + _unit_power(np.resize(noise, len(speech)).astype(np.float64)) * np.sqrt(power))


def gain(samples: np.ndarray, db: float) -> np.ndarray:
    """int16 samples louder by `db` decibels, saturated."""
    return to_int16(samples.astype(np.float64) * 10 ** (db / 20))


def _coloured(count: int, rng: np.random.Generator, *, exponent: float) -> np.ndarray:
    """White noise whose spectrum is weighted with frequency to the power of `exponent`; nothing below 20 Hz."""
    frequencies = np.fft.rfftfreq(count, 1 / SAMPLE_RATE_HZ)
    weights = np.where(frequencies >= 20, np.maximum(frequencies, 1.0) ** exponent, 0.0)
    return _unit_power(np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * weights, count))


def _unit_power(samples: np.ndarray) -> np.ndarray:
    power = np.mean(samples**2) if len(samples) else 0.0
    return samples / np.sqrt(power) if power else samples
