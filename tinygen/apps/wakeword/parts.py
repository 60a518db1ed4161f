"""The three parts of a data set: a voice or a near miss of one part is in no other.

Pieces of the phrase are in all parts. So are the words and patterns of sentences, most of which occur only once.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """TRAIN is for weights, VALIDATION for cutoffs, HELD_OUT for the final figures only."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELD_OUT = "held-out"


_TENTHS = (Part.HELD_OUT, Part.HELD_OUT, Part.VALIDATION, *(Part.TRAIN,) * 7)
"""Parts by a place in ten."""
_NO_PEOPLE = ("robo", "robot", "whisper", "croak", "demonic")
"""In the names of timbres that are no voices of people, or have none."""


def part_of(text: str) -> Part:
    """The part of a text; deterministic."""
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
        part: of the data set.
        languages, variants: that are available.
    """
    people = [name for name in variants if not any(word in name.lower() for word in _NO_PEOPLE)]
    shuffled = sorted({_family(name) for name in people}, key=lambda name: (zlib.crc32(name.encode()), name))
    own = {name for place, name in enumerate(shuffled) if _TENTHS[place % len(_TENTHS)] is part}
    return tuple(
        Voice(language, variant) for variant in sorted(people) if _family(variant) in own for language in languages
    )


def _family(variant: str) -> str:
    """ "steph" for "steph2": such timbres are nearly the same. But f1 to f5 and m1 to m8 are different speakers."""
    family = variant.lower().rstrip("0123456789")
    return family if len(family) > 1 else variant
