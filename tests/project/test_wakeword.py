"""What a wake word's JSON says, and its cutoff as a sum of codes, which decides as pymicro-wakeword does."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.streaming_models import WAKE_WORDS, needs_wake_words, wake_word
from tinygen.audio.mfcc import MfccConfig
from tinygen.audio.micro_frontend import MicroFrontendConfig
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_network
from tinygen.ir.encodings import Affine
from tinygen.lowering.network import lower_network
from tinygen.project.wakeword import WakewordApp, WakewordPlan, c_string, cutoff_sum, emit_wakeword, plan_wakeword
from tinygen.project.wakeword_json import read_app, wakeword_app_from_json

GOOD: dict[str, Any] = {
    "type": "micro",
    "wake_word": "Alexa",
    "model": "alexa.tflite",
    "version": 2,
    "micro": {"probability_cutoff": 0.9, "sliding_window_size": 5, "feature_step_size": 10},
}
UINT8 = Affine("uint8", (1 / 256,), (0,))


def written(path: Path, change: Callable[[dict[str, Any]], object] = lambda content: None) -> Path:
    content = json.loads(json.dumps(GOOD))
    change(content)
    (path / "x.json").write_text(json.dumps(content))
    return path / "x.json"


def test_reads_micro_wake_words_json(tmp_path: Path) -> None:
    app = wakeword_app_from_json(written(tmp_path))
    assert app == WakewordApp(0.9, 5, MicroFrontendConfig(), "Alexa")
    assert app.names == ("Alexa",)


@needs_wake_words
@pytest.mark.parametrize("name", WAKE_WORDS)
def test_reads_those_of_pymicro_wakeword(name: str) -> None:
    app = wakeword_app_from_json(wake_word(name).with_suffix(".json"))
    assert app.sliding_window == 5 and 0.8 < app.cutoff < 1
    assert app.features == MicroFrontendConfig()


def test_reads_what_other_models_need(tmp_path: Path) -> None:
    mfcc = MfccConfig()

    def change(content: dict[str, Any]) -> None:
        content |= {"labels": ["silence", "yes", "no"], "ignored": ["silence"], "step_frames": 12}
        content["features"] = mfcc.as_json()
        content["switch_cutoffs"] = {"w8a8": 0.6, "w2a2": 0.9}

    app = wakeword_app_from_json(written(tmp_path, change))
    assert app.names == ("silence", "yes", "no") and app.ignored == ("silence",)
    assert app.step_frames == 12 and app.features == mfcc
    again = json.loads(json.dumps(app.as_json()["features"]))
    assert MfccConfig.from_json(again) == mfcc


def test_features_every_20_ms(tmp_path: Path) -> None:
    path = written(tmp_path, lambda content: content["micro"].update(feature_step_size=20))
    assert wakeword_app_from_json(path).features.hop_samples == 320


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("version"), ["'version' is missing"]),
        (lambda c: c.update(version=1), ["'version' is 1, not 2"]),
        (lambda c: c.update(version=3), ["'version' is 3, not 2"]),
        (lambda c: c.update(version="2"), ["'version' is \"2\", not a whole number"]),
        (lambda c: c.update(type="snowboy"), ["'type' is 'snowboy'"]),
        (lambda c: c.pop("wake_word"), ["'wake_word' is missing"]),
        (lambda c: c.pop("micro"), ["'micro' is missing"]),
        (lambda c: c.update(micro=[]), ["'micro' is [], not an object"]),
        (lambda c: c["micro"].pop("probability_cutoff"), ["'micro.probability_cutoff' is missing"]),
        (lambda c: c["micro"].update(probability_cutoff="0.9"), ["not a number"]),
        (lambda c: c["micro"].update(probability_cutoff=True), ["is true, not a number"]),
        (lambda c: c["micro"].update(probability_cutoff=97), ["a cutoff of 97 cannot be", "below 1"]),
        (lambda c: c["micro"].update(probability_cutoff=0), ["a cutoff of 0 cannot be"]),
        (lambda c: c["micro"].update(probability_cutoff=1), ["a cutoff of 1 cannot be"]),
        (lambda c: c["micro"].update(sliding_window_size=0), ["a sliding window of 0"]),
        (lambda c: c["micro"].update(sliding_window_size=5.0), ["not a whole number"]),
        (lambda c: c["micro"].update(feature_step_size=0), ["'micro.feature_step_size' is 0 ms"]),
        (lambda c: c["micro"].update(feature_step_size=40), ["window_ms"]),
        (lambda c: c.update(labels=["a", "a"]), ["'labels' is no list of different texts"]),
        (lambda c: c.update(labels=["a", "b"], ignored=["c"]), ["'c' is to be ignored, and is no label"]),
        (lambda c: c.update(ignored=["c"]), ["'c' is to be ignored, and is no label"]),
        (lambda c: c.update(features={"kind": "lpc"}), ["kind is 'lpc'"]),
        (lambda c: c.update(step_frames=0), ["a step of 0 frames"]),
        (lambda c: c["micro"].update(probability_cutoff=10**400), ["'micro.probability_cutoff' is no usual number"]),
        (lambda c: c["micro"].update(probability_cutoff=float("nan")), ["a cutoff of nan cannot be"]),
        (lambda c: c.update(wake_word="\ud800"), ["'wake_word' is no usual number or text"]),
        (lambda c: c.update(labels=["yes", "\ud800"]), ["'labels' is no usual number or text"]),
    ],
)
def test_refuses(change: Callable[[dict[str, Any]], object], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(TinygenError) as caught:
        wakeword_app_from_json(written(tmp_path, change))
    for word in words:
        assert word in str(caught.value)
    assert caught.value.where and caught.value.fix


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match=r"cannot be read.*\n.*config"):
        wakeword_app_from_json(tmp_path / "missing.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(TinygenError, match="no JSON object"):
        wakeword_app_from_json(tmp_path / "list.json")
    for text in ("{", "[" * 100_000):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(TinygenError, match="cannot be read"):
            wakeword_app_from_json(tmp_path / "broken.json")


def test_what_a_command_line_names(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert read_app(None, None, tmp_path / "x.tflite") is None
    assert read_app("wakeword", None, tmp_path / "x.tflite") == read_app("wakeword", path, tmp_path / "y.tflite")
    with pytest.raises(TinygenError, match="no application 'clapper'"):
        read_app("clapper", None, tmp_path / "x.tflite")
    with pytest.raises(TinygenError, match="config is for an application"):
        read_app(None, path, tmp_path / "x.tflite")


def pymicro_mean(codes: np.ndarray, encoding: Affine) -> float:
    """As `MicroWakeWord.process_streaming_prob` writes it."""
    probabilities = []
    for code in codes:
        result = (np.array([code], encoding.dtype).astype(np.float32) - encoding.zero_point[0]) * encoding.scale[0]
        probabilities.append(result.item())
    return statistics.mean(probabilities)


@pytest.mark.parametrize(
    "encoding", [UINT8, Affine("int8", (1 / 256,), (-128,)), Affine("int8", (float(np.float32(0.0043)),), (-127,))]
)
@pytest.mark.parametrize(("cutoff", "window"), [(0.9, 5), (0.97, 5), (0.85, 5), (0.5, 1), (0.5, 4), (0.123, 10)])
def test_a_sum_of_codes_decides_as_pymicro_wakeword_does(encoding: Affine, cutoff: float, window: int) -> None:
    least = cutoff_sum(cutoff, window, encoding)
    low, high = encoding.code_range
    rng = np.random.default_rng(7)
    decided = {True: 0, False: 0}
    for _ in range(300):
        # Windows around the cutoff, of equal codes and of unlike ones.
        total = least + int(rng.integers(-2, 3))
        codes = np.full(window, total // window)
        codes[: total - int(codes.sum())] += 1
        for _ in range(int(rng.integers(0, 20))):
            take, give = rng.integers(0, window, 2)
            if codes[take] > low and codes[give] < high:
                codes[take] -= 1
                codes[give] += 1
        above = pymicro_mean(codes, encoding) > cutoff
        assert above == (int(codes.sum()) >= least)
        decided[above] += 1
    assert min(decided.values()) > 50


def test_cutoffs_that_cannot_be_decided_or_reached() -> None:
    with pytest.raises(TinygenError, match=r"no probability is above the cutoff 0\.999"):
        cutoff_sum(0.999, 5, UINT8)
    coarse = Affine("uint8", (float(np.float32(0.0037)),), (0,))
    exactly = statistics.mean([float(np.float32(200) * np.float32(0.0037))] * 3)
    with pytest.raises(TinygenError, match="depends on how float32 rounds"):
        cutoff_sum(exactly, 3, coarse)
    assert cutoff_sum(exactly + 1e-6, 3, coarse) == 601 and cutoff_sum(exactly - 1e-6, 3, coarse) == 600


@needs_wake_words
def test_a_plan_for_a_wake_word() -> None:
    network = lower_network(load_network(wake_word("alexa"), None, None), family="reference", isa=("c99",))
    plan = plan_wakeword(WakewordApp(0.9, 5, MicroFrontendConfig()), network)
    assert (plan.frames, plan.step, plan.channels, plan.input_bytes) == (3, 3, 40, 120)
    assert plan.cutoff_sums == ((1153,),) and plan.ctype == "uint8_t"  # 1152 / 1280 is not above 0.9
    with pytest.raises(TinygenError, match=r"input is \(1, 3, 40\), not frames of 20 features"):
        plan_wakeword(WakewordApp(0.9, 5, MicroFrontendConfig(channels=20)), network)
    with pytest.raises(TinygenError, match="1 outputs, and 2 labels"):
        plan_wakeword(WakewordApp(0.9, 5, MicroFrontendConfig(), labels=("yes", "no")), network)
    with pytest.raises(TinygenError, match=r"a step of 1 frames(?s:.)*A streaming model takes 3 at once"):
        plan_wakeword(WakewordApp(0.9, 5, MicroFrontendConfig(), step_frames=1), network)
    both = replace(
        network, switches=(replace(network.switches[0], name="fine"), replace(network.switches[0], name="coarse"))
    )
    app = WakewordApp(0.9, 5, MicroFrontendConfig(), switch_cutoffs={"coarse": 0.5})
    assert plan_wakeword(app, both).cutoff_sums == ((1153,), (641,))
    with pytest.raises(TinygenError, match="cutoff for the switch 'coarse', which the model has not"):
        plan_wakeword(app, network)


def test_words_as_strings_of_c() -> None:
    assert c_string('say "hi"\\\n?') == r'"say \042hi\042\134 \077"'


def test_no_name_gets_out_of_its_comment(tmp_path: Path) -> None:
    names = ("a /* b", "*/ #error c", "d ??/", "e\\\n#error", "ü")
    plan = WakewordPlan(3, 3, 40, 120, names, 5, ((1153,) * 5,), (0.9,), UINT8)
    for labels, name in ((names, ""), ((), " ".join(names))):
        app = WakewordApp(0.9, 5, MicroFrontendConfig(), name, labels)
        emit_wakeword(app, plan, UINT8, [115200], tmp_path)
        text = (tmp_path / "wakeword/wakeword_config.h").read_text(encoding="ascii")
        comments = re.findall(r"/\*(.*?)\*/", text, re.DOTALL)
        assert sum("error c" in comment for comment in comments) == 1 + bool(name)
        assert not any("/*" in comment or "??/" in comment or "\\" in comment for comment in comments)
        assert "error" not in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
