"""Levels, noise and rooms."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.apps.wakeword import sound

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.5, 40.0])
def test_the_ratio_of_speech_to_noise_is_exact(snr_db: float) -> None:
    speech, noise = RNG.standard_normal(5000) * 0.1, RNG.standard_normal(5000) * 7
    scaled = sound.noise_at_snr(noise, sound.power(speech), snr_db)
    assert 10 * np.log10(sound.power(speech) / sound.power(scaled)) == pytest.approx(snr_db, abs=1e-9)


def test_levels_are_exact_and_silence_stays() -> None:
    loud = sound.at_level(RNG.standard_normal(4000), -23.0)
    assert 10 * np.log10(sound.power(loud)) == pytest.approx(-23.0, abs=1e-9)
    assert not sound.at_level(np.zeros(10), -20.0).any()
    assert not sound.noise_at_snr(np.zeros(10), 1.0, 3.0).any()


def test_what_is_too_loud_is_clipped() -> None:
    assert sound.to_int16(np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [
        -32768,
        -32768,
        0,
        16384,
        32767,
        32767,
    ]


def test_the_span_of_speech() -> None:
    clip = np.concatenate([np.zeros(100), np.full(50, 1000), np.zeros(30)]).astype(np.int16)
    assert sound.speech_span(clip) == (100, 150)
    assert sound.speech_span(np.zeros(7, np.int16)) == (0, 7)


def test_a_room_decays_as_it_says_and_is_convolved() -> None:
    rooms = [sound.room(np.random.default_rng(seed)) for seed in range(20)]
    for response in rooms:
        assert response[0] == 1.0
        diffuse = sound.power(response[1:]) * (len(response) - 1)
        assert 10**-1.5 <= diffuse <= 1.0
        half = len(response) // 2
        # 0.8 of the time to -60 dB: half of it is 24 dB, on the whole.
        assert 17 < 10 * np.log10(np.sum(response[1:half] ** 2) / np.sum(response[half:] ** 2)) < 31
    clip = RNG.standard_normal(300)
    assert np.allclose(sound.in_room(clip, rooms[0]), np.convolve(clip, rooms[0]))


def test_hum_and_crowds_have_unit_power() -> None:
    assert sound.power(sound.hum(16000, RNG)) == pytest.approx(1.0)
    crowd = sound.mixed([RNG.standard_normal(700), 9 * RNG.standard_normal(90)], 4000, RNG)
    assert sound.power(crowd) == pytest.approx(1.0)


def test_a_shorter_throat_is_higher_and_faster_and_nothing_is_aliased() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    higher = sound.of_another(tone, 1.1, np.zeros(7))
    assert len(higher) == round(16000 / 1.1)
    assert np.argmax(np.abs(np.fft.rfft(higher))) * 16000 / len(higher) == pytest.approx(1100, abs=1.0)
    assert sound.power(higher) == pytest.approx(0.5, rel=0.01)
    above = sound.of_another(np.sin(2 * np.pi * 7500 * np.arange(16000) / 16000), 1.1, np.zeros(7))
    assert sound.power(above) < 1e-6  # 8,250 Hz is no more


def test_a_colour_is_a_frequency_response() -> None:
    decibels = np.array([0.0, 0.0, 0.0, 6.0, -6.0, 0.0, 0.0])
    for hertz, gain in ((500, 0.0), (1000, 6.0), (2000, -6.0)):
        tone = np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)
        heard = sound.of_another(tone, 1.0, decibels)
        assert len(heard) == 16000 and 10 * np.log10(sound.power(heard) / sound.power(tone)) == pytest.approx(gain)
    assert np.std(np.concatenate([sound.colour(4.0, RNG) for _ in range(400)])) == pytest.approx(4.0, rel=0.1)
