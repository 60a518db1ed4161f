"""Sound as float64 samples, with 1.0 as full scale of int16: levels, noise, rooms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RATE_HZ = 16_000
FULL_SCALE = 32768.0
_SILENT = 0.02
"""Of the largest sample: what is below lies outside of speech."""


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples rounded and clipped to int16."""
    return np.clip(np.rint(samples * FULL_SCALE), -32768, 32767).astype(np.int16)


def speech_span(samples: np.ndarray) -> tuple[int, int]:
    """(first, one past the last) sample of the part above the noise floor; the whole clip if it is silent."""
    size = np.abs(samples.astype(np.float64))
    loud = np.flatnonzero(size > _SILENT * size.max(initial=0))
    return (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, len(samples))


def power(samples: np.ndarray) -> float:
    """Mean square."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def at_level(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Samples scaled to this root mean square relative to full scale; silence is unchanged."""
    now = power(samples)
    return samples * (10 ** (decibels / 20) / np.sqrt(now)) if now > 0 else samples


def noise_at_snr(noise: np.ndarray, signal_power: float, snr_db: float) -> np.ndarray:
    """`noise` scaled to a signal-to-noise ratio of `snr_db` with signal_power; silence is unchanged."""
    now = power(noise)
    return noise * np.sqrt(signal_power / now * 10 ** (-snr_db / 10)) if now > 0 else noise


def hum(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum: 50 or 60 Hz and its harmonics, each half as strong as the one before; root mean square 1."""
    base = float(rng.choice((50.0, 60.0)))
    time = np.arange(samples) / RATE_HZ
    tones = [0.5**k * np.sin(2 * np.pi * base * (k + 1) * time + rng.uniform(0, 2 * np.pi)) for k in range(5)]
    total = np.sum(tones, 0)
    return total / np.sqrt(power(total))


def mixed(clips: Sequence[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    """Babble: equally loud clips, each repeated from a random start, with a root mean square of 1."""
    total = np.zeros(samples)
    for clip in clips:
        start = int(rng.integers(len(clip)))
        repeats = -(-(samples + start) // len(clip))
        total += at_level(np.tile(clip, repeats)[start : start + samples], 0.0)
    now = power(total)
    return total / np.sqrt(now) if now > 0 else total


def room(rng: np.random.Generator) -> np.ndarray:
    """An impulse response: the direct sound, then Gaussian noise that decays exponentially (Polack's model of rooms).

    Reverberation time 0.1 to 0.7 s (to -60 dB), the diffuse field 0 to 15 dB below the direct sound in total.
    """
    seconds = rng.uniform(0.1, 0.7)
    time = np.arange(round(0.8 * seconds * RATE_HZ)) / RATE_HZ
    diffuse = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    diffuse[: round(0.002 * RATE_HZ)] = 0.0  # reflections travel at least 0.7 m farther than the direct sound
    ratio = 10 ** (-rng.uniform(0, 15) / 10)
    response = diffuse * np.sqrt(ratio / np.sum(diffuse**2))
    response[0] = 1.0
    return response


def in_room(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The samples convolved with the response, tail included; computed by FFT."""
    length = len(samples) + len(response) - 1
    size = 1 << (length - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[:length]


_COLOUR_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)


def colour(deviation_db: float, rng: np.random.Generator) -> np.ndarray:
    """Decibels at _COLOUR_HZ, normally distributed: the frequency response of a throat, a microphone, a way to it."""
    return rng.normal(0.0, deviation_db, len(_COLOUR_HZ))


def of_another(samples: np.ndarray, factor: float, decibels: np.ndarray) -> np.ndarray:
    """All frequencies `factor` times as high and as much faster (what a vocal tract shorter by it sounds like), in a
    colour; by way of the spectrum, so that nothing is aliased.
    """
    spectrum = np.fft.rfft(samples)
    hertz = np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE_HZ) * factor, 1.0)
    gains = np.interp(np.log(hertz), np.log(_COLOUR_HZ), decibels)
    length = max(2, round(len(samples) / factor))
    return np.fft.irfft(spectrum * 10 ** (gains / 20), length) * (length / len(samples))
