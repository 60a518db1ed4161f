"""The sound played to the board after training: voices and near misses that are not in the training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.apps.wakeword.dataset import cast_of
from tinygen.apps.wakeword.near_misses import near_misses
from tinygen.apps.wakeword.parts import Part, Voice
from tinygen.apps.wakeword.phrase import Phrase
from tinygen.audio.mixing import at_snr, babble, pink
from tinygen.audio.scenes import LEAD_SECONDS, PAUSE_SECONDS, Scene, framed
from tinygen.audio.speech import say

NOISES = {"pink noise, 15 dB": (pink, 15.0), "babble, 15 dB": (babble, 15.0)}
_PHRASES = ("", "pink noise, 15 dB", "", "babble, 15 dB", "pink noise, 15 dB", "babble, 15 dB")
"""What is behind each time that the phrase is said."""
_SENTENCES = ("what is the weather like tomorrow", "turn on the light in the kitchen")
_RATES, _PITCHES = (140, 200), (35, 65)


def held_out_scenes(phrase: Phrase, *, seed: int) -> list[Scene]:
    """The phrase by six speakers, two near misses and two sentences, each with a different held-out timbre if there are
    enough. Speakers are drawn at random, not chosen by how well they are recognised. int16 at 16 kHz.

    Raises:
        TinygenError: as `cast_of`.
    """
    rng = np.random.default_rng([seed, 3])
    speakers = _drawn(cast_of(phrase, Part.HELD_OUT).speakers, rng)
    texts = near_misses(phrase, Part.HELD_OUT)
    others = [*(texts[i] for i in rng.choice(len(texts), 2, replace=False)), *_SENTENCES]
    asked = [(phrase.text, background, True) for background in _PHRASES]
    for place, (text, background) in enumerate(zip(others, ("", "babble, 15 dB", *NOISES), strict=True)):
        asked.insert(2 * place + 1, (text, background, False))
    return [
        _scene(text, speakers[place % len(speakers)], background, place, has_word, rng)
        for place, (text, background, has_word) in enumerate(asked)
    ]


def _drawn(voices: Sequence[Voice], rng: np.random.Generator) -> list[Voice]:
    """One voice of each timbre, in random order."""
    timbres = sorted({voice.variant or "" for voice in voices})
    chosen = [[voice for voice in voices if (voice.variant or "") == name] for name in timbres]
    return [chosen[i][int(rng.integers(len(chosen[i])))] for i in rng.permutation(len(timbres))]


def _scene(text: str, voice: Voice, background: str, place: int, has_word: bool, rng: np.random.Generator) -> Scene:
    rate, pitch = (int(rng.integers(low, high + 1)) for low, high in (_RATES, _PITCHES))
    spoken = say(text, voice=voice.language, variant=voice.variant, rate=rate, pitch=pitch)
    samples = framed(spoken, PAUSE_SECONDS if place else LEAD_SECONDS)
    if background:
        noise, decibels = NOISES[background]
        samples = at_snr(samples, noise(len(samples), rng), decibels)
    who = f"{voice.language}+{voice.variant}" if voice.variant else voice.language
    name = f"{place + 1}. “{text}”, {who}"
    return Scene(f"{name}, {background}" if background else name, samples, has_word)
