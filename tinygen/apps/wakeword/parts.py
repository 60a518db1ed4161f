"""The three parts of a data set, and what goes into which: a voice or a near miss of one is in no other.

Pieces of the phrase are in all of them. So are the words and patterns of sentences, most of which are said only once.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """TRAIN moves weights, VALIDATION chooses cutoffs, HELD_OUT is only ever measured."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELD_OUT = "held-out"


_TENTHS = (Part.HELD_OUT, Part.HELD_OUT, Part.VALIDATION, *(Part.TRAIN,) * 7)
"""Parts by a place in ten."""
_NO_PEOPLE = ("robo", "robot", "whisper", "croak", "demonic")
"""In the names of timbres that are no voices of people, or have none."""


def part_of(text: str) -> Part:
    """The part that a text belongs to; always the same one."""
    return _TENTHS[zlib.crc32(text.encode()) % len(_TENTHS)]


@dataclass(frozen=True)
class Voice:
    """A synthetic speaker.

    Attributes:
        language: espeak-ng's name: "en-us".
        variant: espeak-ng's name of the timbre: "f2"; None is the language's own.
    """

    language: str
    variant: str | None


def voices_of(part: Part, languages: Sequence[str], variants: Sequence[str]) -> tuple[Voice, ...]:
    """Every language in every timbre of a part: families of timbres, which are what makes a speaker
    here, belong to one part.

    Args:
        part: whose.
        languages, variants: that there are.
    """
    people = [name for name in variants if not any(word in name.lower() for word in _NO_PEOPLE)]
    shuffled = sorted({_family(name) for name in people}, key=lambda name: (zlib.crc32(name.encode()), name))
    own = {name for place, name in enumerate(shuffled) if _TENTHS[place % len(_TENTHS)] is part}
    return tuple(
        Voice(language, variant) for variant in sorted(people) if _family(variant) in own for language in languages
    )


def _family(variant: str) -> str:
    """ "steph" of "steph2": such timbres are nearly one. But f1 to f5 and m1 to m8 are people of their own."""
    family = variant.lower().rstrip("0123456789")
    return family if len(family) > 1 else variant
