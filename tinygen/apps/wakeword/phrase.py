"""The phrase to be recognised, and the languages that can pronounce it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tinygen.apps.wakeword.sound import RATE_HZ, speech_span
from tinygen.apps.wakeword.words import WORDS
from tinygen.audio.speech import phonemes, say, voices
from tinygen.errors import TinygenError

VOICE = "en-us"
"""By whose rules a phrase is read."""
ENGLISH = ("en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
OTHERS = ("de", "nl", "sv", "da", "nb", "fr-be", "it", "es", "pt", "pl", "fi", "cs", "hu", "ro", "tr")
"""Whose speakers say English words by their own language's rules."""
MOST_SECONDS, LEAST_PHONEMES = 1.6, 5
_ALLOWED = re.compile(r"[a-z]+(?:['-][a-z]+)*(?: [a-z]+(?:['-][a-z]+)*)*")
_STRESS = re.compile(r"\([a-z-]+\)|[ˈˌːˑ‿ʔʲ̩̃_\s]")
_SKELETON = {
    letter: kind
    for kind, letters in {
        "p": "pb",
        "t": "tdɾθð",
        "k": "kɡgcɟ",
        "s": "szʃʒ",
        "f": "fvβ",
        "m": "m",
        "n": "nŋɲ",
        "l": "lɫʎ",
        "r": "rɹʁɻ",
        "j": "j",
        "w": "wʋ",
        "h": "hxçɦ",
    }.items()
    for letter in letters
}


@dataclass(frozen=True)
class Phrase:
    """A phrase that can be trained.

    Attributes:
        text: lower-case words with one space between them.
        sounds: its phonemes (IPA, without stress) as espeak-ng's American English has them.
        seconds: duration when that voice says it at 175 words a minute.
        languages: that pronounce it similarly: English ones, and those whose rules give nearly its consonants.
    """

    text: str
    sounds: str
    seconds: float
    languages: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return self.text.split()


def read_phrase(text: str) -> Phrase:
    """
    Raises:
        TinygenError: the text is empty, has characters other than letters, or a word without a vowel (which would be
            spelt out), is too short to be distinguished from other speech, or longer than the network's window.
    """
    words = " ".join(text.lower().split())
    where = f"phrase '{text}'"
    if not words:
        raise TinygenError("the phrase is empty", fix='Give the words to listen for: --train "hey computer".')
    if not _ALLOWED.fullmatch(words):
        raise TinygenError(
            "only the letters a to z, spaces, and ' or - within words can be said",
            where=where,
            fix="Write it as an English reader would say it, numbers in words.",
        )
    for word in words.split():
        if not set(word) & set("aeiouy"):
            raise TinygenError(
                f"'{word}' has no vowel: it would be spelt letter by letter",
                where=where,
                fix=f"Write it as it is spoken: '{' '.join('xyz')}' as 'ex why zee'.",
            )
    sounds = plain_phonemes(words)
    if len(sounds) < LEAST_PHONEMES:
        raise TinygenError(
            f"'{sounds}' is {len(sounds)} sounds long: other speech is full of it",
            where=where,
            fix=f"Take a phrase of at least {LEAST_PHONEMES} sounds, better ten: two or three words.",
        )
    seconds = _seconds(words)
    if seconds > MOST_SECONDS:
        raise TinygenError(
            f"takes {seconds:.1f} s to say; the network hears {MOST_SECONDS} s",
            where=where,
            fix="Take a shorter phrase: two or three words.",
        )
    return Phrase(words, sounds, seconds, _languages(words))


def _seconds(text: str) -> float:
    first, end = speech_span(say(text, voice=VOICE))
    return (end - first) / RATE_HZ


def _languages(text: str) -> tuple[str, ...]:
    wanted = skeleton(plain_phonemes(text))
    allowed = max(1, len(wanted) // 8)
    others = [name for name in OTHERS if name in voices()]
    return (*ENGLISH, *(name for name in others if edit_distance(skeleton(_in(name, text)), wanted) <= allowed))


@cache
def plain_phonemes(text: str) -> str:
    """IPA without stress, length and pauses, in American English."""
    return _in(VOICE, text)


@cache
def word_sounds() -> dict[str, str]:
    """`plain_phonemes` of every word in WORDS."""
    return dict(zip(WORDS, map(plain, phonemes(WORDS, voice=VOICE)), strict=True))


def _in(language: str, text: str) -> str:
    return plain(phonemes([text], voice=language)[0])


def plain(sounds: str) -> str:
    """IPA without stress, length and pauses."""
    return _STRESS.sub("", sounds)


def skeleton(sounds: str) -> str:
    """Consonants by place and manner of articulation, runs of vowels as one symbol."""
    kinds = "".join(_SKELETON.get(sound, "V") for sound in sounds)
    return re.sub("V+", "V", kinds)


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein's: the fewest insertions, deletions and substitutions."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
    return row[-1]
