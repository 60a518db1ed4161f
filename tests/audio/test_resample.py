"""Sample rate conversion: flat where it must be, silent where it must be, in time."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.audio.resample import resample
from tinygen.errors import TinygenError

RATES = [8000, 11025, 22050, 32000, 44100, 44101, 48000]
AMPLITUDE = 16000


def tone(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return np.rint(AMPLITUDE * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


def level_db(samples: np.ndarray) -> float:
    """Against a sine of AMPLITUDE, without the ends."""
    middle = samples[500:-500].astype(np.float64)
    return float(10 * np.log10(np.mean(middle**2) / (AMPLITUDE**2 / 2) + 1e-12))


@pytest.mark.parametrize("rate", RATES)
def test_the_pass_band_comes_through_sample_for_sample(rate: int) -> None:
    highest = min(rate, 16000) / 2 * 15 / 16
    for frequency in np.linspace(60, highest, 7):
        error = resample(tone(frequency, rate), rate, 16000) - tone(frequency, 16000).astype(np.float64)
        # Rounding both to integers is 90 dB below this tone.
        assert level_db(error) < -75, frequency


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_what_would_fold_back_is_gone(rate: int) -> None:
    for frequency in np.linspace(8500, rate / 2 - 50, 9):
        assert level_db(resample(tone(frequency, rate), rate, 16000)) < -75, frequency


def test_images_of_a_lower_rate_are_gone() -> None:
    spectrum = np.abs(np.fft.rfft(resample(tone(3000, 8000), 8000, 16000)[1000:15000] * np.hanning(14000)))
    frequencies = np.fft.rfftfreq(14000, 1 / 16000)
    assert 20 * np.log10(spectrum[frequencies > 4250].max() / spectrum.max()) < -75


@pytest.mark.parametrize("rate", RATES)
def test_a_constant_stays_and_the_length_is_right(rate: int) -> None:
    samples = resample(np.full(rate, 12345, np.int16), rate, 16000)
    assert len(samples) == 16000
    assert np.all(samples[300:-300] == 12345)


def test_the_same_rate_changes_nothing_and_nothing_stays_nothing() -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, 1000).astype(np.int16)
    assert np.array_equal(resample(samples, 16000, 16000), samples)
    assert len(resample(samples[:0], 22050, 16000)) == 0
    assert len(resample(samples[:1], 22050, 16000)) == 1


def test_what_rings_beyond_16_bits_saturates() -> None:
    square = np.repeat(np.tile(np.array([32767, -32768], np.int16), 50), 60)
    samples = resample(square, 22050, 16000)
    assert samples.max() == 32767 and samples.min() == -32768
    assert np.all(np.abs(np.diff(samples.astype(np.int32))) < 65535)


def test_rates_are_positive() -> None:
    with pytest.raises(TinygenError, match="from 0 Hz"):
        resample(np.zeros(3, np.int16), 0, 16000)
