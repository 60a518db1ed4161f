"""Sound for demonstrations of wake words: sentences with the word, without it, with a similar one, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.audio.mixing import at_snr, babble, pink
from tinygen.audio.resample import to_int16
from tinygen.audio.speech import SAMPLE_RATE_HZ, say

PAUSE_SECONDS = 0.7
LEAD_SECONDS = 1.0
"""The front end's noise estimate and the model's memory begin empty: no word in the first second."""


@dataclass(frozen=True)
class Speaker:
    """Arguments of :func:`tinygen.audio.speech.say`."""

    voice: str
    variant: str
    rate: int

    def say(self, text: str) -> np.ndarray:
        return say(text, voice=self.voice, variant=self.variant, rate=self.rate, pitch=40)


@dataclass(frozen=True)
class Scene:
    """A piece of sound.

    Attributes:
        name: describes the sound.
        samples: int16.
        has_word: whether the sound contains the word; None if unknown.
        sample_rate_hz: of the samples.
    """

    name: str
    samples: np.ndarray
    has_word: bool | None = None
    sample_rate_hz: int = SAMPLE_RATE_HZ

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate_hz


# eSpeak NG's formant voices differ much from the models' training data; each model recognises some of them.
_TALL, _HIGH = Speaker("en-us", "m3", 140), Speaker("en-gb", "shelby", 175)
_SPEAKERS = {
    "okay nabu": (_TALL, Speaker("en-us", "robert", 140)),
    "hey jarvis": (Speaker("en-us", "adam", 140), _HIGH),
    "hey mycroft": (Speaker("en-gb", "f3", 175), _HIGH),
    "alexa": (_TALL, Speaker("en-us", "robert", 140)),
}
_LIKE = {
    "okay nabu": "okay, now you",
    "hey jarvis": "hey, jars",
    "hey mycroft": "hey, microwave",
    "alexa": "a lecture",
}


def speakers(word: str) -> tuple[Speaker, Speaker]:
    """Two voices for a wake word; for the words of bundled models, two that these models recognise."""
    return _SPEAKERS.get(word.lower(), (_TALL, Speaker("en-us", "adam", 140)))


def scenes(word: str) -> list[Scene]:
    """Some 20 seconds of sound, deterministic.

    Args:
        word: the wake word as it is written ("Okay Nabu").

    Raises:
        TinygenError: no `espeakng-loader`, or a word without letters.
    """
    one, two = speakers(word)
    rng = np.random.default_rng(7)
    like = _LIKE.get(word.lower(), _half(word))
    first = framed(one.say(f"{word}, what time is it?"), LEAD_SECONDS)
    second = framed(two.say(f"{word}. Turn on the light."), PAUSE_SECONDS)
    other = framed(one.say("What is the weather like tomorrow?"), PAUSE_SECONDS)
    near = framed(two.say(f"{like}, turn on the light."), PAUSE_SECONDS)
    third = framed(one.say(f"{word}, what time is it?"), PAUSE_SECONDS)
    noise = to_int16(500 * pink(2 * SAMPLE_RATE_HZ, rng))
    return [
        Scene(f"“{word}, what time is it?”", first, True),
        Scene("“What is the weather like tomorrow?”", other, False),
        Scene(f"“{word}. Turn on the light.”, pink noise, 10 dB", at_snr(second, pink(len(second), rng), 10), True),
        Scene(f"“{like}, turn on the light.”", near, False),
        Scene("pink noise", noise, False),
        Scene(f"“{word}, what time is it?”, babble, 20 dB", at_snr(third, babble(len(third), rng), 20), True),
    ]


def _half(word: str) -> str:
    """The first half of a phrase, of one word its first letters."""
    words = word.split()
    return " ".join(words[: len(words) // 2]) if len(words) > 1 else word[: (len(word) + 1) // 2]


def framed(speech: np.ndarray, lead_seconds: float) -> np.ndarray:
    """int16 speech with silence before it, and PAUSE_SECONDS of it behind."""
    before, after = (np.zeros(round(s * SAMPLE_RATE_HZ), np.int16) for s in (lead_seconds, PAUSE_SECONDS))
    return np.concatenate([before, speech, after])
