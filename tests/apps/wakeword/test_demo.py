"""The demonstration of a wake word, from Python."""

from __future__ import annotations

import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.targets.tools import requires_package
from tinygen.apps.wakeword import demo as module
from tinygen.apps.wakeword.demo import DemoOptions, Watcher, demo_wakeword, wakeword_files
from tinygen.audio import microphone
from tinygen.audio.resample import to_int16
from tinygen.audio.scenes import Scene, scenes, speakers
from tinygen.audio.wav import read_wav, write_wav
from tinygen.errors import TinygenError
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.verbs.build import BuildOptions, build

pytestmark = [requires_package("pymicro_wakeword"), requires_package("espeakng_loader")]


def pieces(rate: int) -> Iterator[np.ndarray]:
    """What a microphone hears: the word, then silence without end."""
    assert rate == 16000
    yield scenes("Alexa")[0].samples
    while True:
        yield np.zeros(800, np.int16)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Firmware for this computer that listens for Alexa."""
    model, config = wakeword_files("alexa")
    folder = tmp_path_factory.mktemp("alexa") / "out"
    build(model, folder, BuildOptions(board="host", app=wakeword_app_from_json(config)), profile=False)
    return folder


@pytest.fixture
def alexa(built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the demonstration finds it as if it had built it."""
    monkeypatch.setattr(module, "build", lambda *_, **__: shutil.copytree(built, tmp_path / "out"))
    return tmp_path / "out"


def test_a_microphone_until_it_is_enough(alexa: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(microphone, "check", lambda rate: None)
    monkeypatch.setattr(microphone, "record", pieces)
    heard: list[tuple[int, float, str]] = []
    result = demo_wakeword(
        "host",
        alexa,
        DemoOptions(model="alexa", microphone=True, save_wav=tmp_path / "heard.wav"),
        Watcher(lambda: len(heard) > 400, on_hop=lambda event, p, scene: heard.append((event.hop, p, scene))),
    )
    assert [hop for hop, _, _ in heard] == list(range(len(heard))) and {scene for _, _, scene in heard} == {
        "microphone"
    }
    (one,) = result.heard
    assert one.scene.has_word is None and one.is_right is None and result.as_expected
    assert len(one.detections) == 1 and one.peak == max(p for _, p, _ in heard)
    assert len(read_wav(tmp_path / "heard.wav")) // 160 == len(heard)


@pytest.mark.parametrize(
    ("name", "words"), [("none/heard.wav", "its directory does not exist"), (".", "is a directory")]
)
def test_what_was_heard_is_not_lost_for_want_of_a_folder(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match=words):
        demo_wakeword("host", tmp_path / "out", DemoOptions(model="alexa", microphone=True, save_wav=tmp_path / name))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_scene_lasts_as_long_at_any_rate_of_the_model(
    rate: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_wav(tmp_path / "a.wav", np.ones(16000, np.int16))
    (scene,) = module._sound(tmp_path / "a.wav", False, "Alexa", rate)
    assert (scene.seconds, scene.samples.size) == (1.0, rate)
    monkeypatch.setattr(microphone, "check", lambda rate: None)
    monkeypatch.setattr(microphone, "record", lambda rate: iter([np.zeros(rate // 2, np.int16)] * 4))
    tape = module._Tape(module._sound(None, True, "Alexa", rate), lambda: False)
    assert sum(piece.size for piece in tape.pieces()) == 2 * rate
    assert [heard.seconds for heard in tape.scenes()] == [2.0]


def test_words_that_are_missed_or_invented_are_said_to_be(alexa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = scenes("Alexa")
    wrong = [
        Scene("without", spoken[0].samples, has_word=False),
        Scene("with", to_int16(np.zeros(16000)), has_word=True),
        Scene("right", spoken[1].samples, has_word=False),
    ]
    monkeypatch.setattr(module, "scenes", lambda word: wrong)
    result = demo_wakeword("host", alexa, DemoOptions(model="alexa"))
    assert [one.is_right for one in result.heard] == [False, False, True] and not result.as_expected
    starts = np.cumsum([0.0, *(scene.seconds for scene in wrong)])
    assert [one.start_seconds for one in result.heard] == pytest.approx(starts[:3])


def test_a_real_board_is_flashed_before_it_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[Any] = []
    monkeypatch.setattr(module, "build", lambda *_, **__: None)
    monkeypatch.setattr(module, "flash", lambda folder, options: done.append((folder, options.port)))

    def listen(folder: Path, *arguments: Any, **options: Any) -> None:
        done.append(options["port"])
        raise TinygenError("enough")

    monkeypatch.setattr(module, "listen", listen)
    with pytest.raises(TinygenError, match="enough"):
        demo_wakeword("f746zg", tmp_path / "out", DemoOptions(model="alexa", port="/dev/ttyACM7"))
    assert done == [(tmp_path / "out", "/dev/ttyACM7"), "/dev/ttyACM7"]
    done.clear()
    with pytest.raises(TinygenError, match="enough"):
        demo_wakeword("f746zg", tmp_path / "out", DemoOptions(model="alexa", port="rfc2217://farm:4000"))
    assert done == ["rfc2217://farm:4000"]


def test_other_words_get_voices_and_something_like_them() -> None:
    assert speakers("Hey Computer") == speakers("anything")
    names = [scene.name for scene in scenes("Hey Computer")]
    assert names[0] == "“Hey Computer, what time is it?”" and names[3] == "“Hey, turn on the light.”"


def test_models_by_name_and_by_path(tmp_path: Path) -> None:
    model, config = wakeword_files("okay_nabu")
    assert wakeword_files(str(model)) == (model, config)


def test_without_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(TinygenError, match=r"tinygen\[mic\]"):
        demo_wakeword("host", tmp_path / "out", DemoOptions(microphone=True))
    none: Any = types.SimpleNamespace(find_spec=lambda name: None)
    monkeypatch.setattr(sys.modules["tinygen.audio.models"].importlib, "util", none)
    with pytest.raises(TinygenError, match=r"tinygen\[audio\]"):
        demo_wakeword("host", tmp_path / "out")
    with pytest.raises(TinygenError, match=r"no such file(?s:.)*tinygen\[audio\]"):
        demo_wakeword("host", tmp_path / "out", DemoOptions(model="none.tflite"))
    assert not (tmp_path / "out").exists()
