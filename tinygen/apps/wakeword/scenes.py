"""Synthetic sound scenes of half a minute: speech in rooms, with noise and babble in the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np

from tinygen.apps.wakeword import sound
from tinygen.apps.wakeword.parts import Voice
from tinygen.apps.wakeword.sound import RATE_HZ
from tinygen.apps.wakeword.words import sentence
from tinygen.audio.mixing import brown, pink, white
from tinygen.audio.speech import Parameters, Spoken, say_all

T = TypeVar("T")
SECONDS = 30
SAMPLES = SECONDS * RATE_HZ
FOREIGN = ("de", "fr-be", "es", "it", "pl", "pt", "nl", "tr", "fi", "sv", "hu", "ro")
"""By whose rules some of the sentences are read: other sounds than English has."""
_AT_ONCE = 8
"""Utterances that are synthesised together."""
RATES = (120, 230)
"""Words a minute, slowest and fastest."""
_BEFORE_END = round(1.0 * RATE_HZ)
"""Nothing that is said ends later than this before its scene does: there is time to detect it."""


@dataclass(frozen=True)
class Mix:
    """Proportions of utterances in a kind of scenes.

    Attributes:
        phrase, near_miss: shares of all utterances; the others are sentences.
        silent: share of scenes without speech.
    """

    phrase: float
    near_miss: float
    silent: float = 0.0


MIXES = {
    "phrases": Mix(0.6, 0.2),
    "near misses": Mix(0.0, 0.6),
    "air": Mix(0.0, 0.05, 0.1),
}
"""Scenes by name: with the phrase; with what sounds like it; with what else is in the air."""


@dataclass(frozen=True)
class Variety:
    """Variation of speakers and backgrounds beyond timbres.

    Attributes:
        pitches: espeak-ng's, lowest and highest.
        snr_db: of speech over background, least and most.
        stretch: largest factor by which formants and pitch are raised or lowered, as by shorter or longer vocal tracts.
        colour_db: standard deviation of a random frequency response.
        clean: share of scenes without background.
        rooms: share of utterances in a room.
    """

    pitches: tuple[int, int] = (20, 80)
    snr_db: tuple[float, float] = (5.0, 35.0)
    stretch: float = 1.0
    colour_db: float = 0.0
    clean: float = 0.1
    rooms: float = 0.8


MORE_VARIED = Variety((5, 95), (0.0, 30.0), 1.15, 4.0, clean=0.3, rooms=0.6)
"""For training: synthetic timbres are few, and a network learns them by heart. A single word close to a microphone, in
silence, looks unlike any in a noisy room to the front end, which is all gain there.
"""


@dataclass(frozen=True)
class Cast:
    """Speakers and texts in the scenes of a part.

    Attributes:
        phrase: to be recognised.
        speakers: voices that say the phrase.
        others: voices that say all other texts; the same timbres.
        near_misses: texts that sound like the phrase.
        variety: of all speakers.
    """

    phrase: str
    speakers: tuple[Voice, ...]
    others: tuple[Voice, ...]
    near_misses: tuple[str, ...]
    variety: Variety = Variety()


class Kind(IntEnum):
    """Kinds of utterances: the phrase, a near miss, or a sentence."""

    PHRASE = 0
    NEAR_MISS = 1
    OTHER = 2


@dataclass(frozen=True)
class Said:
    """An utterance: its kind and words, its first sample and the one past its last."""

    kind: Kind
    text: str
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Scene:
    """Sound, and what is said in it.

    Attributes:
        samples: int16 [SAMPLES] at RATE_HZ.
        said: utterances in order, without those of background babble.
        snr_db: of speech over background, as mixed; infinite without a background, None where nobody speaks.
    """

    samples: np.ndarray
    said: tuple[Said, ...]
    snr_db: float | None


def make_scene(cast: Cast, mix: Mix, rng: np.random.Generator) -> Scene:
    """A scene: who says what, where, how loud, and how much noise there is, all drawn from `rng`."""
    if rng.random() < mix.silent:
        return Scene(sound.to_int16(sound.at_level(_background(cast, rng), rng.uniform(-60, -15))), (), None)
    speech, said = _speech(cast, mix, rng)
    speech = sound.at_level(speech, rng.uniform(-38, -14))
    snr = float("inf") if rng.random() < cast.variety.clean else float(rng.uniform(*cast.variety.snr_db))
    if np.isfinite(snr):
        speech = speech + sound.noise_at_snr(_background(cast, rng), _power_of_speech(speech), snr)
    if rng.random() < 0.1:
        speech = speech * 10 ** (rng.uniform(6, 20) / 20)  # too loud, so that int16 clips
    return Scene(sound.to_int16(speech), said, snr)


def _power_of_speech(speech: np.ndarray) -> float:
    """Mean power of the samples with speech."""
    size = np.abs(speech)
    return sound.power(speech[size > 0.01 * size.max()])


def _speech(cast: Cast, mix: Mix, rng: np.random.Generator) -> tuple[np.ndarray, tuple[Said, ...]]:
    total = np.zeros(SAMPLES)
    said: list[Said] = []
    position = round(rng.uniform(0.3, 1.5) * RATE_HZ)
    for kind, text, clip in _talk(cast, mix, rng):
        if position + len(clip) + _BEFORE_END > SAMPLES:
            break
        said.append(Said(kind, text, position, position + len(clip)))
        heard = sound.in_room(clip, sound.room(rng)) if rng.random() < cast.variety.rooms else clip
        heard = heard[: SAMPLES - position] * 10 ** (rng.uniform(-6, 6) / 20)
        total[position : position + len(heard)] += heard
        pause = rng.uniform(0.1, 0.5) if rng.random() < 0.4 else rng.uniform(0.5, 2.0)
        position += len(clip) + round(pause * RATE_HZ)
    return total, tuple(said)


def _talk(cast: Cast, mix: Mix, rng: np.random.Generator) -> Iterator[tuple[Kind, str, np.ndarray]]:
    """An endless sequence of utterances: (kind, words, samples)."""
    shares = (mix.phrase, mix.near_miss, 1 - mix.phrase - mix.near_miss)
    while True:
        kinds = [Kind(kind) for kind in rng.choice(len(Kind), _AT_ONCE, p=shares)]
        asked = [_utterance(cast, kind, rng) for kind in kinds]
        yield from zip(kinds, [one.text for one in asked], _clips(asked, cast.variety, rng), strict=True)


def _utterance(cast: Cast, kind: Kind, rng: np.random.Generator) -> Spoken:
    """The phrase; a near miss; or a sentence, in English or as another language would read it."""
    if kind is Kind.OTHER:
        text, voice = _sentence(cast, rng), _one(cast.others, rng)
        return spoken(text, Voice(_one(FOREIGN, rng), voice.variant) if rng.random() < 0.25 else voice, cast, rng)
    text = cast.phrase if kind is Kind.PHRASE else _one(cast.near_misses, rng)
    return spoken(text, _one(cast.speakers, rng), cast, rng)


def _sentence(cast: Cast, rng: np.random.Generator) -> str:
    """A sentence that does not contain the phrase."""
    while cast.phrase in (text := sentence(rng).lower()):
        pass
    return text


def spoken(text: str, voice: Voice, cast: Cast, rng: np.random.Generator) -> Spoken:
    """A text with random rate and pitch."""
    (slow, fast), (low, high) = RATES, cast.variety.pitches
    parameters = Parameters(rate=int(rng.integers(slow, fast + 1)), pitch=int(rng.integers(low, high + 1)))
    return Spoken(text, voice.language, voice.variant, parameters)


def _clips(asked: Sequence[Spoken], variety: Variety, rng: np.random.Generator) -> list[np.ndarray]:
    """The synthesised utterances with a root mean square of 0.1, without silence around them."""
    clips = []
    for clip in say_all(asked):
        first, end = sound.speech_span(clip)
        heard = clip[first:end].astype(np.float64)
        if variety.stretch > 1.0:
            factor = variety.stretch ** rng.uniform(-1, 1)
            heard = sound.of_another(heard, factor, sound.colour(variety.colour_db, rng))
        clips.append(sound.at_level(heard, -20.0))
    return clips


def _background(cast: Cast, rng: np.random.Generator) -> np.ndarray:
    """Root mean square 1: noise of a colour, hum or a crowd, or two of them."""
    total = sum(_one_background(cast, rng) * rng.uniform(0.3, 1.0) for _ in range(int(rng.integers(1, 3))))
    return sound.at_level(np.asarray(total), 0.0)


def _one_background(cast: Cast, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    if kind < 0.5:
        return _one((white, pink, brown), rng)(SAMPLES, rng)
    if kind < 0.6:
        return sound.hum(SAMPLES, rng)
    talkers = [
        spoken(". ".join(_sentence(cast, rng) for _ in range(4)), _one(cast.others, rng), cast, rng)
        for _ in range(int(rng.integers(2, 7)))
    ]
    return sound.mixed(_clips(talkers, cast.variety, rng), SAMPLES, rng)


def _one(choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]
