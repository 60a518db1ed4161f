"""The micro front end against pymicro-features: NumPy and C, not one feature differs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.audio.pymicro import reference, same_tables
from tests.audio.sounds import SOUNDS, make, mixed, speech
from tests.targets.tools import requires_package
from tinygen.audio.log1p import log1p
from tinygen.audio.micro_frontend import FEATURE_SCALE, MicroFrontend, features

__all__ = ["same_tables"]

oracle = pytest.mark.usefixtures("same_tables")


def assert_all_equal(samples: np.ndarray) -> int:
    """Gives the number of features."""
    wanted = reference(samples)
    assert np.array_equal(MicroFrontend().process(samples), wanted)
    assert np.array_equal(features(samples), wanted)
    return wanted.size


@requires_package("pymicro_features")
@oracle
@pytest.mark.parametrize("name", SOUNDS)
def test_sound(name: str) -> None:
    assert assert_all_equal(make(name, 10)) == 998 * 40


@requires_package("pymicro_features")
@requires_package("espeakng_loader")
@oracle
def test_speech() -> None:
    sentences = [speech(i) for i in range(6)]
    rng = np.random.default_rng(5)
    noisy = [np.clip(s * 0.4 + rng.normal(0, 500, s.size), -32768, 32767).astype(np.int16) for s in sentences]
    assert assert_all_equal(np.concatenate(sentences + noisy)) > 40 * 1500


@requires_package("pymicro_features")
@oracle
def test_any_number_of_samples_at_a_time() -> None:
    samples = mixed(24)
    rng = np.random.default_rng(2)
    frontend, parts, position = MicroFrontend(), [], 0
    while position < samples.size:
        count = int(rng.choice([0, 1, 7, 159, 160, 161, 480, 2001, 20000]))
        parts.append(frontend.process(samples[position : position + count]))
        position += count
    assert np.array_equal(np.concatenate(parts), reference(samples))


def test_scale_is_that_of_pymicro_features() -> None:
    assert FEATURE_SCALE == 0.0390625


def test_log1p_is_fdlibm_s() -> None:
    """Its last bit, at values where glibc 2.36's, which is fdlibm's, differs from the correctly rounded one."""
    hz = np.array([6, 13, 15, 31, 38, 50], np.float32) * np.float32(31.25)
    wanted = [0x3E730628, 0x3EEA5136, 0x3F033A64, 0x3F5E6662, 0x3F7DEF00, 0x3F9629A0]
    assert [int(log1p(x).view(np.uint32)) for x in hz / np.float32(700)] == wanted


@pytest.mark.long
@requires_package("pymicro_features")
@requires_package("espeakng_loader")
@oracle
def test_hours_of_audio() -> None:
    """Over two hours: every sound with other parameters each minute, and speech at several levels with noise."""
    rng = np.random.default_rng(11)
    sentences = [speech(i) for i in range(42)]
    total = 0
    for minute in range(125):
        pieces = [mixed(30, seed=minute)]
        while sum(map(len, pieces)) < 60 * 16000:
            sentence = sentences[int(rng.integers(len(sentences)))]
            noise = rng.normal(0, rng.choice([0, 30, 600]), sentence.size)
            loud = np.clip(sentence * rng.choice([0.02, 0.3, 1.0, 4.0]) + noise, -32768, 32767)
            pieces.append(loud.astype(np.int16))
        samples = np.concatenate(pieces)
        wanted = reference(samples)
        assert int((features(samples) != wanted).sum()) == 0, minute
        total += wanted.size
    assert total > 2 * 3600 * 100 * 40
