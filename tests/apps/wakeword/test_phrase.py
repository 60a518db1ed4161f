"""Phrases that can be trained, who says them, and what sounds like them."""

from __future__ import annotations

import pytest

from tests.targets.tools import requires_package
from tinygen.apps.wakeword.near_misses import least_distance, near_misses
from tinygen.apps.wakeword.parts import Part, part_of, voices_of
from tinygen.apps.wakeword.phrase import edit_distance, plain_phonemes, read_phrase, skeleton
from tinygen.errors import TinygenError

pytestmark = requires_package("espeakng_loader")


def test_a_phrase_is_read() -> None:
    phrase = read_phrase("  Hey   Computer ")
    assert phrase.text == "hey computer"
    assert phrase.sounds.startswith("heɪ")
    assert 0.5 < phrase.seconds < 1.1
    assert {"en-us", "de"} <= set(phrase.languages)
    assert "fi" not in phrase.languages  # whose "hey computer" ends otherwise


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("hey 4 you", "only the letters"),
        ("grüezi mitenand", "only the letters"),
        ("hey xkcd", "'xkcd' has no vowel"),
        ("hi", "3 sounds"),
        ("hey computer please open the door for me now", "takes 2.. s"),
    ],
)
def test_phrases_that_cannot_be_trained(text: str, what: str) -> None:
    with pytest.raises(TinygenError, match=what):
        read_phrase(text)


def test_near_misses_differ_and_are_of_one_part() -> None:
    phrase = read_phrase("hey computer")
    texts = {part: near_misses(phrase, part) for part in Part}
    for found in texts.values():
        assert "computer" in found  # a piece of it, in all parts
        assert phrase.text not in found
        assert all(phrase.sounds not in plain_phonemes(text) for text in found[::10])
        assert all(edit_distance(plain_phonemes(text), phrase.sounds) >= least_distance(phrase) for text in found[::10])
    train, held_out = set(texts[Part.TRAIN]), set(texts[Part.HELD_OUT])
    assert all(len(text) < len(phrase.text) for text in train & held_out)  # nothing but pieces
    assert len(train) > 2 * len(held_out) > 50


def test_a_single_word_has_near_misses_too() -> None:
    assert len(near_misses(read_phrase("computer"), Part.HELD_OUT)) > 20


def test_voices_of_the_parts_are_other_people() -> None:
    names = ["f1", "f2", "m1", "m2", "steph", "steph2", "steph3", "Klatt", "klatt2", "whisper", "robosoft3"]
    names += [f"somebody{letter}" for letter in "abcdefghijklmno"]
    families = {}
    for part in Part:
        voices = voices_of(part, ["en-us", "de"], names)
        assert voices and len(voices) % 2 == 0
        families[part] = {(voice.variant or "").lower().rstrip("23") for voice in voices}
    assert not families[Part.TRAIN] & families[Part.HELD_OUT]
    assert not families[Part.TRAIN] & families[Part.VALIDATION]
    assert not families[Part.VALIDATION] & families[Part.HELD_OUT]
    everybody = set.union(*families.values())
    assert "steph" in everybody and not {"whisper", "robosoft"} & everybody


def test_texts_are_dealt_out_in_their_shares() -> None:
    parts = [part_of(f"text {number}") for number in range(2000)]
    assert 0.6 < parts.count(Part.TRAIN) / 2000 < 0.8
    assert parts.count(Part.HELD_OUT) > parts.count(Part.VALIDATION) > 100


@pytest.mark.parametrize(("a", "b", "distance"), [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)])
def test_edit_distance(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == distance


def test_skeleton_hears_accents_alike() -> None:
    assert skeleton("kəmpjuːtɚ".replace("ː", "")) == skeleton("kɔmpjuɾɜ") == "kVmpjVtV"
