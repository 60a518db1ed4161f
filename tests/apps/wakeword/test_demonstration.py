"""What is played to the board at the end: held-out voices alone, drawn by the seed."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.targets.tools import requires_package
from tinygen.apps.wakeword.dataset import cast_of
from tinygen.apps.wakeword.demonstration import held_out_scenes
from tinygen.apps.wakeword.near_misses import near_misses
from tinygen.apps.wakeword.parts import Part, Voice, voices_of
from tinygen.apps.wakeword.phrase import Phrase, read_phrase
from tinygen.audio.speech import variants

pytestmark = requires_package("espeakng_loader")


@pytest.fixture(scope="module")
def phrase() -> Phrase:
    return read_phrase("hey computer")


def test_voices_and_texts_that_training_has_not_heard(phrase: Phrase) -> None:
    scenes = held_out_scenes(phrase, seed=0)
    speakers = []
    for place, scene in enumerate(scenes, 1):
        found = re.fullmatch(rf"{place}\. “(.+)”, ([a-z-]+)(?:\+(\w+))?(, (?:pink noise|babble), 15 dB)?", scene.name)
        assert found is not None, scene.name
        assert scene.has_word == (found[1] == "hey computer")
        speakers.append(Voice(found[2], found[3]))
        assert scene.samples.dtype == np.int16 and 1.5 < scene.seconds < 5
        # With noise behind it, no sample is silent for long.
        assert (np.abs(scene.samples[:8000]).max() > 0) == (found[4] is not None)
    held_out = cast_of(phrase, Part.HELD_OUT).speakers
    assert set(speakers) <= set(held_out)
    assert not {one.variant for one in speakers} & {
        one.variant for one in voices_of(Part.TRAIN, phrase.languages, variants())
    }
    assert len({one.variant for one in speakers}) == len(speakers)
    assert sum(scene.has_word is True for scene in scenes) == 6
    said = {scene.name.split("“")[1].split("”")[0] for scene in scenes if not scene.has_word}
    assert len(said & set(near_misses(phrase, Part.HELD_OUT))) == 2


def test_the_seed_draws(phrase: Phrase) -> None:
    first, again, other = (held_out_scenes(phrase, seed=seed) for seed in (0, 0, 1))
    assert [one.name for one in first] == [one.name for one in again] != [one.name for one in other]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(first, again, strict=True))
