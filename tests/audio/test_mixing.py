"""Noise: its colour, its power against the speech's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.targets.tools import requires_package
from tinygen.audio.mixing import NOISES, at_snr, babble, brown, gain, pink, white
from tinygen.errors import TinygenError

COUNT = 1 << 16


def octave_powers_db(samples: np.ndarray) -> np.ndarray:
    """Power per hertz in the octaves from 125 Hz to 8 kHz."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / 16000)
    edges = 125 * 2.0 ** np.arange(7)
    bands = itertools.pairwise(edges)
    return np.array([10 * np.log10(power[(frequencies >= low) & (frequencies < high)].mean()) for low, high in bands])


@pytest.mark.parametrize(("noise", "db_per_octave"), [(white, 0.0), (pink, -3.01), (brown, -6.02)])
def test_colours(noise: object, db_per_octave: float) -> None:
    samples = noise(COUNT, np.random.default_rng(1))  # type: ignore[operator]
    assert len(samples) == COUNT and np.mean(samples**2) == pytest.approx(1)
    assert np.diff(octave_powers_db(samples)) == pytest.approx(np.full(5, db_per_octave), abs=0.6)


def test_louder_by_decibels_of_amplitude_until_it_clips() -> None:
    samples = np.array([100, -1000, 0, 30_000, -30_000], np.int16)
    assert gain(samples, 20).tolist() == [1000, -10_000, 0, 32_767, -32_768]
    assert gain(samples, -20).tolist() == [10, -100, 0, 3000, -3000]


@requires_package("espeakng_loader")
def test_babble_is_of_many_voices_and_the_same_for_the_same_seed() -> None:
    first, again, other = (babble(COUNT, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.mean(first**2) == pytest.approx(1) and np.array_equal(first, again) and not np.array_equal(first, other)
    # One voice pauses, six together do not.
    frames = np.mean(first[: COUNT // 1600 * 1600].reshape(-1, 1600) ** 2, axis=1)
    assert frames.min() > 0.02


@pytest.mark.parametrize("db", [20, 5, 0, -5])
@pytest.mark.parametrize("name", ["white", "pink", "brown"])
def test_the_ratio_is_what_was_asked_for(name: str, db: float) -> None:
    rng = np.random.default_rng(3)
    speech = np.rint(3000 * np.sin(np.arange(COUNT) / 7)).astype(np.int16)
    mixed = at_snr(speech, NOISES[name](COUNT, rng), db)
    added = mixed.astype(np.float64) - speech
    measured = 10 * np.log10(np.mean(speech.astype(np.float64) ** 2) / np.mean(added**2))
    assert mixed.dtype == np.int16 and measured == pytest.approx(db, abs=0.05)


def test_noise_is_repeated_or_cut_to_the_speech() -> None:
    speech = np.full(1000, 1000, np.int16)
    noise = np.array([1.0, -1.0])
    assert at_snr(speech, noise, 20).tolist() == [1100, 900] * 500
    assert len(at_snr(speech, np.ones(5000), 20)) == 1000


def test_silence_has_no_ratio() -> None:
    with pytest.raises(TinygenError, match="silence"):
        at_snr(np.zeros(10, np.int16), np.ones(10), 3)
    with pytest.raises(TinygenError, match="silence"):
        at_snr(np.ones(10, np.int16), np.zeros(10), 3)


def test_gain_saturates() -> None:
    assert gain(np.array([100, -30000, 30000], np.int16), 6.0206).tolist() == [200, -32768, 32767]
