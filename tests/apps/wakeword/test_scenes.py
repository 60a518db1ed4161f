"""Scenes and the data set of them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.targets.tools import requires_package
from tinygen.apps.wakeword import dataset
from tinygen.apps.wakeword.dataset import Scenes, Wanted, cast_of, load_scenes, write_file
from tinygen.apps.wakeword.features import feature_codes
from tinygen.apps.wakeword.parts import Part
from tinygen.apps.wakeword.phrase import read_phrase
from tinygen.apps.wakeword.scenes import MIXES, MORE_VARIED, SAMPLES, Kind, Mix, Variety, make_scene
from tinygen.errors import TinygenError

pytestmark = requires_package("espeakng_loader")
CODES = Scenes(np.zeros((1, 30, 40), np.int8), np.array([[0, 0, 3, 9]]), np.array([5.0]))


@pytest.fixture(scope="module")
def cast():
    return cast_of(read_phrase("hey computer"), Part.HELD_OUT)


def test_a_scene_is_the_same_for_the_same_seed(cast) -> None:
    one, same, other = (make_scene(cast, MIXES["phrases"], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.samples.dtype == np.int16 and one.samples.shape == (SAMPLES,)
    assert np.array_equal(one.samples, same.samples) and one.said == same.said
    assert not np.array_equal(one.samples, other.samples)


def test_training_alone_has_voices_made_more_varied(cast) -> None:
    assert cast.variety == Variety() == cast_of(read_phrase("hey computer"), Part.VALIDATION).variety
    assert cast_of(read_phrase("hey computer"), Part.TRAIN).variety == MORE_VARIED
    varied = make_scene(replace(cast, variety=MORE_VARIED), MIXES["phrases"], np.random.default_rng(1))
    assert not np.array_equal(varied.samples, make_scene(cast, MIXES["phrases"], np.random.default_rng(1)).samples)
    assert MORE_VARIED.snr_db[0] <= varied.snr_db <= MORE_VARIED.snr_db[1] or np.isinf(varied.snr_db)


@pytest.mark.parametrize(("clean", "expected"), [(1.0, True), (0.0, False)])
def test_some_scenes_have_nothing_behind_who_speaks(cast, clean: float, expected: bool) -> None:
    quiet = replace(cast, variety=Variety(clean=clean))
    found = [make_scene(quiet, MIXES["phrases"], np.random.default_rng(seed)).snr_db for seed in range(3)]
    assert [snr == float("inf") for snr in found] == [expected] * 3


def test_words_in_no_room_end_where_they_end(cast) -> None:
    """Without rooms and backgrounds, what lies between two utterances is silence."""
    dry = replace(cast, variety=Variety(clean=1.0, rooms=0.0))
    scene = make_scene(dry, MIXES["phrases"], np.random.default_rng(1))
    for before, after in pairwise(scene.said):
        assert not scene.samples[before.end : after.first].any()


def test_what_is_said_where(cast) -> None:
    scene = make_scene(cast, MIXES["phrases"], np.random.default_rng(1))
    assert {one.kind for one in scene.said} >= {Kind.PHRASE}
    for one in scene.said:
        assert (one.text == cast.phrase) == (one.kind is Kind.PHRASE)
        assert one.kind is not Kind.NEAR_MISS or one.text in cast.near_misses
    ends = [0, *(one.end for one in scene.said)]
    assert all(one.first >= end for one, end in zip(scene.said, ends, strict=False))
    assert ends[-1] <= SAMPLES - 16000


def test_without_the_phrase_it_is_nowhere(cast) -> None:
    for mix in ("near misses", "air"):
        for seed in range(3):
            said = make_scene(cast, MIXES[mix], np.random.default_rng(seed)).said
            assert all(one.kind is not Kind.PHRASE and cast.phrase not in one.text for one in said)
    assert make_scene(cast, Mix(0, 0, silent=1.0), np.random.default_rng(0)).said == ()


def test_files_are_written_once_and_read_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dataset, "SCENES_PER_FILE", 1)
    phrase, wanted = read_phrase("hey computer"), Wanted(Part.VALIDATION, "phrases", 1)
    told = []
    first = load_scenes(phrase, wanted, tmp_path, seed=5, progress=lambda *what: told.append(what))
    (path,) = tmp_path.iterdir()
    before = path.stat().st_mtime_ns
    again = load_scenes(phrase, wanted, tmp_path, seed=5)
    assert told == [("validation: phrases", 1, 1)]
    assert path.stat().st_mtime_ns == before
    assert np.array_equal(first.codes, again.codes) and np.array_equal(first.said, again.said)
    load_scenes(phrase, wanted, tmp_path, seed=6)
    assert len(list(tmp_path.iterdir())) == 2  # another seed, other scenes
    assert first.codes.dtype == np.int8 and first.codes.shape[0] == 1 and first.codes.shape[2] == 40
    assert len(first.of_kind(Kind.PHRASE)) > 0


def test_an_interrupted_file_is_not_there(tmp_path: Path, cast, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "SCENES_PER_FILE", 1)
    monkeypatch.setattr(dataset.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file((cast, Wanted(Part.HELD_OUT, "air", 1), 0, 0, tmp_path / "x.npz"))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "write_file", _die)
    with pytest.raises(TinygenError, match="was killed"):
        load_scenes(read_phrase("hey computer"), Wanted(Part.TRAIN, "air", 11), tmp_path, seed=0)
    assert list(tmp_path.iterdir()) == []


def _die(job: dataset.Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TinygenError, match="cannot be written"):
        load_scenes(read_phrase("hey computer"), Wanted(Part.TRAIN, "air", 1), tmp_path / "file" / "x", seed=0)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TinygenError, match="cannot be written"):
        dataset._write(tmp_path / "file" / "x.npz", CODES)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    dataset._write(path, CODES)
    assert np.array_equal(dataset._read(path).codes, CODES.codes)
    content = path.read_bytes()
    for damaged in (b"", content[:100], content[:-30], content.replace(b"NUMPY", b"numpy"), b"x" + content[1:9]):
        path.write_bytes(damaged)
        with pytest.raises(TinygenError, match=r"x\.npz: is damaged"):
            dataset._read(path)


def test_no_voices_are_an_error(monkeypatch) -> None:
    monkeypatch.setattr(dataset, "variants", lambda: ("whisper",))
    with pytest.raises(TinygenError, match="none of which falls to the train voices"):
        cast_of(read_phrase("hey computer"), Part.TRAIN)


def test_frames_of_utterances_are_where_the_sound_is() -> None:
    samples = np.zeros(32000, np.int16)
    samples[16000:24000] = np.random.default_rng(0).integers(-9000, 9000, 8000)
    codes = feature_codes(samples)
    first, end = dataset._frame(16000), dataset._frame(24000)
    assert codes[first - 4].max() == -128 < codes[first + 1].max()
    assert codes[end - 1].max() > -128


def test_scenes_are_joined_and_cut() -> None:
    codes = np.zeros((2, 30, 40), np.int8)
    one = Scenes(codes, np.array([[0, 0, 3, 9], [1, 2, 4, 8]]), np.array([5.0, 6.0]))
    both = Scenes.joined([one, replace(one, codes=codes + 1)])
    assert both.codes.shape == (4, 30, 40) and both.hours == pytest.approx(4 * 30 / 3600)
    assert both.of_kind(Kind.PHRASE).tolist() == [[0, 3, 9], [2, 3, 9]]
    assert dataset._cut(both, 3).said[:, 0].tolist() == [0, 1, 2]
