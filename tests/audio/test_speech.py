"""Synthesised speech: the same every time, whatever was said before, from wherever it is asked for."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.targets.tools import requires_package
from tinygen.audio import espeak_worker, speech
from tinygen.audio.speech import say, variants, voices
from tinygen.errors import TinygenError

pytestmark = requires_package("espeakng_loader")
TEXT = "okay nabu, turn on the light"


def test_speech_is_of_plausible_length_and_level() -> None:
    samples = say(TEXT)
    assert samples.dtype == np.int16 and samples.ndim == 1
    assert 1.0 < len(samples) / speech.SAMPLE_RATE_HZ < 3.0
    assert np.abs(samples.astype(np.int32)).max() > 8000


def test_the_same_words_are_the_same_samples_whatever_was_said_between() -> None:
    first = say(TEXT, variant="f3")
    say("der Hund schläft", voice="de", variant="whisper", rate=250, pitch=80)
    assert np.array_equal(first, say(TEXT, variant="f3"))


@pytest.mark.parametrize("variant", [None, "f2"])
def test_another_process_says_it_with_the_same_samples(variant: str | None) -> None:
    """Also with breath, which is noise."""
    wanted = f"say({TEXT!r}, variant={variant!r})"
    program = f"import hashlib; from tinygen.audio.speech import say; print(hashlib.sha256({wanted}).hexdigest())"
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == hashlib.sha256(say(TEXT, variant=variant).tobytes()).hexdigest()


def test_threads_do_not_disturb_each_other() -> None:
    texts = [f"sentence number {n}" for n in range(8)]
    alone = [say(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(say, texts))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_voices_variants_and_parameters_change_the_sound() -> None:
    sounds = [
        say(TEXT),
        say(TEXT, voice="en-gb"),
        say(TEXT, variant="f3"),
        say(TEXT, rate=250),
        say(TEXT, pitch=80),
        say(TEXT, pitch_range=0),
        say(TEXT, volume=50),
        say(TEXT, word_gap=20),
    ]
    assert len({sound.tobytes() for sound in sounds}) == len(sounds)
    assert len(say(TEXT, rate=350)) < 0.7 * len(say(TEXT, rate=150))


def test_there_are_many_voices_and_variants() -> None:
    assert {"en-us", "en-gb", "de", "fr-fr"} <= set(voices())
    assert len(voices()) > 80 and len(variants()) > 50 and "f3" in variants()


@pytest.mark.long
def test_every_variant_is_a_speaker_of_its_own() -> None:
    # "fast" only allows higher rates than this one.
    sounds = {name: say(TEXT, variant=name).tobytes() for name in variants()}
    plain = say(TEXT).tobytes()
    assert [name for name, sound in sounds.items() if sound == plain] == ["fast"]
    assert len(set(sounds.values())) == len(sounds)


def test_what_a_voice_cannot_read_is_an_error() -> None:
    assert len(say("ᎣᏏᏲ", voice="chr-US-Qaaa-x-west")) > 3000
    with pytest.raises(TinygenError, match="cannot read '1 2 3'"):
        say("1 2 3", voice="chr-US-Qaaa-x-west")


@pytest.mark.long
def test_voices_read_digits_except_where_their_language_has_none() -> None:
    cannot = []
    for name in voices():
        try:
            assert len(say("1 2 3", voice=name)) > 0.2 * speech.SAMPLE_RATE_HZ, name
        except TinygenError:
            cannot.append(name)
    assert len(cannot) < 10 and not [name for name in cannot if name.startswith(("en", "de", "fr", "es", "it"))]


@pytest.mark.parametrize(
    ("text", "options", "what"),
    [
        ("", {}, "nothing to say"),
        (" ...!", {}, "nothing to say"),
        ("a\0b", {}, "nothing to say"),
        (TEXT, {"voice": "zz"}, "no voice 'zz'"),
        (TEXT, {"variant": "nobody"}, "no variant 'nobody'"),
        (TEXT, {"rate": 20}, "rate = 20 is out of range"),
        (TEXT, {"pitch": 100}, "pitch = 100 is out of range"),
        (TEXT, {"volume": -1}, "volume = -1 is out of range"),
    ],
)
def test_bad_arguments_are_named(text: str, options: dict, what: str) -> None:
    with pytest.raises(TinygenError, match=what):
        say(text, **options)


def test_after_errors_it_speaks_on() -> None:
    before = say(TEXT)
    worker = speech._worker()
    with pytest.raises(TinygenError, match="no voice 'zz'"):
        worker.ask({"do": "say", "all": [{"text": "x", "voice": "zz", "parameters": {}}]})
    with pytest.raises(TinygenError, match="crashed"):
        worker.ask({"do": "no such thing"})
    assert np.array_equal(before, say(TEXT))
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert np.array_equal(before, say(TEXT))


def test_missing_data_is_an_error(tmp_path: Path) -> None:
    import espeakng_loader

    program = [sys.executable, "-I", "-S", espeak_worker.__file__]
    for library in (espeakng_loader.get_library_path(), str(tmp_path / "libespeak-ng.so")):
        worker = speech._Worker([*program, library, str(tmp_path)])
        with pytest.raises(TinygenError, match=str(tmp_path)):
            worker.ask({"do": "list", "variants": False})


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TinygenError, match=r"tinygen\[audio\]"):
        speech._worker_of.__wrapped__(0)


def test_texts_said_together_are_those_asked_for() -> None:
    asked = [speech.Spoken("hey computer"), speech.Spoken("good morning", "de", "f2", {"rate": 200})]
    heard = speech.say_all(asked)
    assert np.array_equal(heard[0], say("hey computer"))
    assert all(np.array_equal(a, b) for a, b in zip(heard, speech.say_all(asked), strict=True))
    assert 0.5 < len(heard[1]) / len(say("good morning", voice="de", variant="f2", rate=200)) < 2


def test_phonemes_are_a_voices_own() -> None:
    english, nothing = speech.phonemes(["hey computer", ""])
    assert "pj" in english and nothing == ""
    assert speech.phonemes(["hey computer"], voice="de") != [english]
    with pytest.raises(TinygenError, match="no voice 'zz'"):
        speech.phonemes(["x"], voice="zz")
