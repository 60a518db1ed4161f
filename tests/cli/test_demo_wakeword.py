"""`tinygen demo wakeword` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import tinygen
from tests.targets.tools import requires_package
from tinygen.audio.models import bundled
from tinygen.audio.scenes import scenes
from tinygen.audio.wav import read_wav, write_wav

pytestmark = [requires_package("pymicro_wakeword"), requires_package("espeakng_loader")]


@pytest.fixture(scope="module")
def word(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence with a wake word."""
    path = tmp_path_factory.mktemp("sound") / "word.wav"
    write_wav(path, scenes("Hey Jarvis")[0].samples)
    return path


@pytest.mark.long
def test_a_wav_on_the_emulated_board(word: Path, tmp_path: Path) -> None:
    played = tmp_path / "played.wav"
    arguments = ("--model", "hey_jarvis", "--wav", word, "--out", tmp_path / "out", "--save-wav", played)
    done = tinygen("demo", "wakeword", *arguments)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert "F746ZG" in first and "emulated: no board is needed" in first
    assert "word.wav" in done.stdout and "█" in done.stdout and "Hey Jarvis" in done.stdout
    assert "Time of a hop, predicted; budget 10 ms" in done.stdout and "Flash " in done.stdout
    assert np.array_equal(read_wav(played), read_wav(word))
    assert (tmp_path / "out/firmware.elf").is_file()


def test_json_of_synthesised_sentences(tmp_path: Path) -> None:
    done = tinygen("demo", "wakeword", "--board", "host", "-m", "alexa", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["as_expected"] and content["board"] == "host" and content["wake_word"] == "Alexa"
    assert [one["has_word"] for one in content["scenes"]] == [True, False, True, False, False, True]
    assert len(content["detections"]) == 3
    assert all(one["right"] and one["peak"] is not None for one in content["scenes"])
    assert len(content["probabilities"]) == (content["hops"] - 2) // 3
    assert content["flash_bytes"] > 30_000 and content["ram_bytes"] > 5_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "hey_computer"], "there is no wake-word model 'hey_computer'"),
        (["--model", "none.tflite"], "none.tflite: there is no such file"),
        (["--model", "ALONE.tflite"], "ALONE.json: cannot be read"),
        (["--wav", "none.wav"], "none.wav: there is no such file"),
        (["--wav", "CUT.wav"], "CUT.wav: the WAV file is cut off"),
        (["--wav", "WORD", "--mic"], "two sounds at once"),
        (["--board", "esp32"], "nothing emulates esp32"),
        (["--board", "nucleo"], "nucleo"),
        (["--wav", "WORD", "--port", "auto:no-such-number"], "no serial port has USB"),
    ],
)
def test_errors(arguments: list[str], words: str, word: Path, tmp_path: Path) -> None:
    alone = tmp_path / "ALONE.tflite"
    alone.write_bytes(bundled()["alexa"][0].read_bytes())
    (tmp_path / "CUT.wav").write_bytes(word.read_bytes()[:10_000])
    given = [str(word) if argument == "WORD" else argument for argument in arguments]
    done = tinygen("demo", "wakeword", *given, "--out", "out", cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
