"""Texts that sound like the phrase."""

from __future__ import annotations

import math

import numpy as np

from tinygen.apps.wakeword.parts import Part, part_of
from tinygen.apps.wakeword.phrase import VOICE, Phrase, edit_distance, plain, plain_phonemes, word_sounds
from tinygen.apps.wakeword.words import WORDS
from tinygen.audio.speech import phonemes

LEAST_SHARE = 0.25
"""Of the phrase's phonemes, that a near miss differs by at least: of less, people are not sure themselves."""
_CLOSE = 25
"""Words that sound most like a word of the phrase, which stand in for it."""
_CHANGED = 500
_CONSONANTS, _VOWELS = "bdfghjklmnprstvwz", ("a", "e", "i", "o", "u", "ay", "ee", "ow", "oo", "ar")


def near_misses(phrase: Phrase, part: Part) -> tuple[str, ...]:
    """Near misses of a part: pieces of the phrase, other word orders, similar words, words with changed letters.

    Pieces are in all parts, since there are only few; every other text is in one part only.
    """
    others = {*_orders(phrase), *_stand_ins(phrase), *_changed(phrase)}
    own = {text for text in others if part_of(text) is part}
    texts = sorted({*_pieces(phrase), *own})
    sounds = map(plain, phonemes(texts, voice=VOICE))
    return tuple(text for text, heard in zip(texts, sounds, strict=True) if _differs(heard, phrase))


def least_distance(phrase: Phrase) -> int:
    """Minimum phoneme distance of a near miss from the phrase."""
    return max(2, math.ceil(LEAST_SHARE * len(phrase.sounds)))


def _differs(sounds: str, phrase: Phrase) -> bool:
    return phrase.sounds not in sounds and edit_distance(sounds, phrase.sounds) >= least_distance(phrase)


def _pieces(phrase: Phrase) -> list[str]:
    """Words, runs of words, and the phrase without its beginning or end."""
    words, text = phrase.words, phrase.text
    runs = [" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    cut = [text[: round(share * len(text))] for share in (0.4, 0.5, 0.6, 0.7)]
    cut += [text[round(share * len(text)) :] for share in (0.3, 0.4, 0.5)]
    return [piece.strip(" '-") for piece in (*runs, *cut) if piece.strip(" '-") not in ("", text)]


def _orders(phrase: Phrase) -> list[str]:
    words = phrase.words
    turned = [" ".join(words[i:] + words[:i]) for i in range(1, len(words))]
    return [*turned, " ".join(reversed(words)), *(" ".join([word, word]) for word in words)]


def _stand_ins(phrase: Phrase) -> list[str]:
    """The phrase with one word replaced by a similar one, or by any other."""
    found = []
    rng = np.random.default_rng(1)
    for index, word in enumerate(phrase.words):
        sounds = plain_phonemes(word)
        ranked = sorted(WORDS, key=lambda other: (edit_distance(word_sounds()[other], sounds), other))
        close = [other for other in ranked if other != word][:_CLOSE]
        for other in (*close, *rng.choice(WORDS, _CLOSE, replace=False).tolist()):
            found.append(" ".join([*phrase.words[:index], other, *phrase.words[index + 1 :]]))
            found.append(other)
    return found


def _changed(phrase: Phrase) -> list[str]:
    """The phrase with one to three letters replaced, which makes words that do not exist."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(_CHANGED):
        letters = list(phrase.text)
        places = [i for i, letter in enumerate(letters) if letter.isalpha()]
        for place in rng.choice(places, int(rng.integers(1, 4)), replace=False):
            vowel = letters[place] in "aeiouy"
            letters[place] = str(rng.choice(_VOWELS)) if vowel else str(rng.choice(list(_CONSONANTS)))
        found.append("".join(letters))
    return found
