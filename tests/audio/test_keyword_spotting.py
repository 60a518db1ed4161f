"""MLPerf Tiny's keyword spotting as an application: sound to a device, MFCCs there, and what LiteRT makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.audio.test_mfcc import CLIPS, MLPERF
from tests.support.litert import reference_outputs
from tests.support.models import KWS, needs_models
from tests.targets.tools import requires_package
from tinygen.audio.mfcc import Mfcc, MfccConfig
from tinygen.audio.mfcc_config import KEYWORD_SPOTTING
from tinygen.audio.speech import say
from tinygen.errors import TinygenError
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.listen import ListenReport, listen

LABELS = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown"]


def sound() -> np.ndarray:
    """ "yes" in noise, after a second of it, and before another."""
    rng = np.random.default_rng(0)
    word = CLIPS["word"][:11053]
    noise = rng.integers(-60, 61, 16000 + len(word) + 16000)
    noise[16000 : 16000 + len(word)] += word
    return noise.astype(np.int16)


def built(folder: Path, board: str) -> Path:
    options = BuildOptions(board=board, app=wakeword_app_from_json(KEYWORD_SPOTTING))
    build(KWS, folder, options, profile=False)
    return folder


@pytest.fixture(scope="module")
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("host") / "kws", "host")


def expected(samples: np.ndarray, report: ListenReport) -> list[tuple[int, ...]]:
    """LiteRT's output codes for the features of each window that was inferred, computed in NumPy."""
    front_end, inputs = Mfcc(), []
    for event in report.events:
        front_end.process(samples[event.hop * 320 : (event.hop + 1) * 320])
        window = front_end.window() if event.ran else None
        if window is not None:
            inputs.append([MLPERF.apply(window).reshape(1, 49, 10, 1)])
    outputs = reference_outputs(KWS.read_bytes(), inputs)
    return [tuple(output.reshape(-1).tolist()) for (output,) in outputs]


@needs_models
def test_hears_a_word(on_host: Path) -> None:
    report = listen(on_host, [sound()])
    ran = [event for event in report.events if event.ran]
    # The first when 49 frames are there, and then every ten.
    assert [event.hop for event in ran] == list(range(49, 134, 10))
    assert [event.codes for event in ran] == expected(sound(), report)
    assert [detection.label for detection in report.detections] == ["yes"]
    assert report.app.features == MfccConfig().as_json()


@needs_models
@requires_package("espeakng_loader")
def test_hears_words_among_others(on_host: Path) -> None:
    rng = np.random.default_rng(1)
    spoken = ["yes", "left", "computer", "off", "right", "up"]
    parts = [np.zeros(16000, np.int16)]
    for word in spoken:
        parts += [say(word, voice="en-us", variant="f2", rate=150), np.zeros(12800, np.int16)]
    samples = np.concatenate(parts)
    samples = np.clip(samples + rng.integers(-60, 61, len(samples)), -32768, 32767).astype(np.int16)
    report = listen(on_host, [samples])
    # All but the one that it does not know.
    assert [detection.label for detection in report.detections] == ["yes", "left", "off", "right", "up"]


@needs_models
@requires_package("ziglang")
@requires_package("unicorn")
@pytest.mark.long
@pytest.mark.parametrize("board", ["f746zg", "esp32c3"])
def test_boards_with_an_fpu_and_without_hear_the_same(board: str, tmp_path: Path) -> None:
    samples = sound()[12000:36000]
    report = listen(built(tmp_path / "kws", board), [samples])
    ran = [event for event in report.events if event.ran]
    assert [event.codes for event in ran] == expected(samples, report)
    assert len(ran) == 3
    assert report.counted.worst_without < report.counted.budget


@needs_models
@pytest.mark.long
def test_frames_that_need_no_clip_are_kept_by_the_firmware(tmp_path: Path) -> None:
    content = json.loads(KEYWORD_SPOTTING.read_text())
    content["features"]["level"] = "full_scale"
    (tmp_path / "kws.json").write_text(json.dumps(content))
    app = wakeword_app_from_json(tmp_path / "kws.json")
    build(KWS, tmp_path / "kws", BuildOptions(board="host", app=app), profile=False)
    report = listen(tmp_path / "kws", [sound()])
    frames = MLPERF.apply(Mfcc(MfccConfig(level="full_scale")).process(sound()))
    ran = [event for event in report.events if event.ran]
    assert len(ran) == 9
    windows = [[frames[event.hop - 49 : event.hop].reshape(1, 49, 10, 1)] for event in ran]
    wanted = [tuple(output.reshape(-1).tolist()) for (output,) in reference_outputs(KWS.read_bytes(), windows)]
    assert [event.codes for event in ran] == wanted


@needs_models
def test_a_clip_of_other_frames_than_the_models(tmp_path: Path) -> None:
    content = json.loads(KEYWORD_SPOTTING.read_text())
    content["features"]["frames"] = 50
    (tmp_path / "kws.json").write_text(json.dumps(content))
    app = wakeword_app_from_json(tmp_path / "kws.json")
    with pytest.raises(TinygenError, match=r"takes 49 frames.* is that of 50\n.*\"frames\": 49"):
        build(KWS, tmp_path / "out", BuildOptions(board="host", app=app))
    assert not (tmp_path / "out").exists()


def test_the_example_is_mlperf_tinys() -> None:
    app = wakeword_app_from_json(KEYWORD_SPOTTING)
    assert app.features == MfccConfig()
    # get_dataset.py's word_labels.
    assert list(app.labels) == LABELS
