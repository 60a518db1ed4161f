"""The four models of pymicro-wakeword as firmware that listens: against pymicro-wakeword itself, on the same sound."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from tests.support.wake_word_oracles import pymicro, semantics
from tests.support.wake_word_proof import (
    HEADER,
    Oracles,
    assert_as_shipped,
    assert_proved,
    compare,
    sound,
    word_of,
    words_in,
)
from tests.targets.tools import requires_package
from tinygen.audio.models import bundled
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.tg import save_tg
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.verify import verify

pytestmark = [requires_package(name) for name in ("pymicro_wakeword", "espeakng_loader", "ai_edge_litert")]
MODELS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
BOARDS = ("f746zg", "esp32c3")
VARIANTS = ("f3", "m7", "belinda", "klatt4", "whisper")


@pytest.mark.long
def test_a_few_seconds_on_an_emulated_board(tmp_path: Path) -> None:
    oracles = Oracles.of("hey_jarvis", sound("Hey Jarvis", ratios=())[: 16000 * 3])
    result = compare("hey_jarvis", "f746zg", tmp_path / "out", oracles)
    assert_proved(result)
    assert any(result.ours_detected)


def test_the_optimised_arithmetic_is_pymicro_wakeword_s_as_shipped(tmp_path: Path) -> None:
    oracles = Oracles.of("hey_jarvis", sound("Hey Jarvis", ratios=())[: 16000 * 3])
    assert oracles.theirs.codes != oracles.reference.codes
    assert_as_shipped(compare("hey_jarvis", "host", tmp_path / "out", oracles, arithmetic="optimized"))


def test_verify_follows_the_arithmetic(tmp_path: Path) -> None:
    model, config = bundled()["okay_nabu"]
    heard = pymicro(config, sound("Okay Nabu", ratios=())[: 16000 * 3])
    np.savez(tmp_path / "x.npz", x=np.concatenate(heard.inputs)[:90])
    report = verify(model, tmp_path / "x.npz", BuildOptions(board="host", arithmetic="optimized"))
    assert report.identical
    assert report.comparisons[0].first == "litert-optimized"


@functools.cache
def in_pink_noise(name: str) -> Oracles:
    return Oracles.of(name, sound(word_of(name), ratios=(5,), noises=("pink",)))


@pytest.mark.long
@pytest.mark.parametrize("name", ["alexa", "okay_nabu"])
def test_the_optimised_arithmetic_step_by_step(name: str, tmp_path: Path) -> None:
    """Against LiteRT's optimised kernels, 500 steps of sound on the emulated board."""
    model, config = bundled()[name]
    heard = pymicro(config, sound(word_of(name), ratios=(5, 0), noises=("pink",)))
    np.savez(tmp_path / "x.npz", x=np.concatenate(heard.inputs)[:500])
    report = verify(model, tmp_path / "x.npz", BuildOptions(board="f746zg", arithmetic="optimized"))
    assert report.samples == 500
    assert report.identical


@pytest.mark.long
def test_all_models_as_shipped_on_both_boards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [HEADER]
    for name in MODELS:
        oracles = in_pink_noise(name)
        for board in BOARDS:
            result = compare(name, board, tmp_path / f"{name}-{board}", oracles, arithmetic="optimized")
            rows.append(result.row())
            assert_as_shipped(result)
            assert any(result.ours_detected)
    with capsys.disabled():
        print("", *rows, sep="\n")


def test_only_tflite_models_have_another_arithmetic(tmp_path: Path) -> None:
    model, _ = bundled()["okay_nabu"]
    save_tg(load_model(model), tmp_path / "x.tg")
    with pytest.raises(TinygenError, match="LiteRT's optimised"):
        build(tmp_path / "x.tg", tmp_path / "out", BuildOptions(board="host", arithmetic="optimized"))
    with pytest.raises(TinygenError, match="no arithmetic 'fast'"):
        build(model, tmp_path / "out", BuildOptions(board="host", arithmetic="fast"))
    assert not (tmp_path / "out").exists()


def test_the_two_meanings_differ_where_they_should() -> None:
    """Otherwise equality with the one would say nothing of the other."""
    model, config = bundled()["okay_nabu"]
    heard = pymicro(config, sound("Okay Nabu", ratios=())[: 16000 * 3])
    reference = semantics(model, heard.inputs, optimised=False)
    differing = sum(a != b for a, b in zip(reference, heard.codes, strict=True))
    assert 0 < differing < len(reference) // 2


@pytest.mark.long
def test_all_models_on_both_boards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [HEADER]
    for name in MODELS:
        oracles = in_pink_noise(name)
        for board in BOARDS:
            result = compare(name, board, tmp_path / f"{name}-{board}", oracles)
            assert_proved(result)
            assert any(result.ours_detected)
            rows.append(result.row())
    with capsys.disabled():
        print("", *rows, sep="\n")


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_minutes_of_sound_on_the_host(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    oracles = Oracles.of(name, sound(word_of(name), ratios=(10, 0), variants=VARIANTS))
    result = compare(name, "host", tmp_path / "out", oracles)
    assert_proved(result)
    assert len(words_in(result.ours_detected, 3)) >= 5
    with capsys.disabled():
        print("", HEADER, result.row(), sep="\n")


def test_words_in() -> None:
    detected = [False] * 5 + [True] * 3 + [False] * 20 + [True] + [False] * 40 + [True, False]
    assert words_in(detected, 3) == [5, 69]
