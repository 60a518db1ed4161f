"""MFCCs: the definition against TensorFlow's own results, and the C's arithmetic against the definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.audio.mfcc_tensorflow.make import CONFIGS, clips
from tinygen.audio.codes import CoefficientCodes
from tinygen.audio.mfcc import Mfcc, MfccConfig, natural_log, square_root
from tinygen.audio.mfcc_exact import hann_window, mfcc_exact
from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine

VECTORS = np.load(Path(__file__).with_name("mfcc_tensorflow") / "vectors.npz")
CLIPS = clips(VECTORS["word"])
MLPERF = CoefficientCodes(Affine("int8", (float(np.float32(0.5847029)),), (83,)))


@pytest.mark.parametrize("key", [key for key in VECTORS if key.endswith("/double")])
def test_the_definition_is_tensorflows(key: str) -> None:
    name, clip, _ = key.split("/")
    found = mfcc_exact(MfccConfig(**CONFIGS[name]), CLIPS[clip])
    assert found.shape == VECTORS[key].shape
    # Both in doubles, so that only their last bits differ.
    assert np.abs(found - VECTORS[key]).max() < 1e-9


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("clip", CLIPS)
def test_single_precision_is_near_the_definition(name: str, clip: str) -> None:
    config = MfccConfig(**CONFIGS[name])
    hops = len(CLIPS[clip]) // config.hop_samples
    front_end = Mfcc(MfccConfig(**{**CONFIGS[name], "frames": hops - config.window_hops + 1}))
    front_end.process(CLIPS[clip])
    found = front_end.window()
    assert found is not None
    assert found.dtype == np.float32
    exact = mfcc_exact(config, CLIPS[clip][: hops * config.hop_samples])[: len(found)]
    # A logarithm amplifies what single precision loses where a band holds next to nothing beside a loud one.
    assert np.abs(found - exact).max() < 1e-2


def test_codes_differ_from_the_definitions_only_at_ties() -> None:
    """As do those of TensorFlow's own single precision, which MLPerf Tiny's inputs were made with."""
    differing = of_tensorflow = total = 0
    for name, clip in CLIPS.items():
        front_end = Mfcc()
        front_end.process(clip)
        window = front_end.window()
        assert window is not None
        exact = mfcc_exact(front_end.config, clip)
        wanted, found = MLPERF.apply(exact.astype(np.float32)), MLPERF.apply(window)
        distance = np.abs(found.astype(int) - wanted)
        assert distance.max() <= 1
        steps = exact[distance > 0] / 0.5847029
        assert np.abs(steps - np.round(steps)).max(initial=0) < 5e-3 / 0.58
        differing += np.count_nonzero(distance)
        of_tensorflow += np.count_nonzero(MLPERF.apply(VECTORS[f"mlperf/{name}/single"]) != wanted)
        total += wanted.size
    assert total == 6 * 490
    print(f"{differing} of {total} codes differ, of TensorFlow's own {of_tensorflow}")
    assert differing == 0


@pytest.mark.parametrize("level", ["peak", "full_scale"])
def test_any_number_of_samples_at_a_time(level: str) -> None:
    sound = np.concatenate([CLIPS["sweep"], CLIPS["word"]])
    whole, pieces = Mfcc(MfccConfig(level=level)), Mfcc(MfccConfig(level=level))
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.integers(0, len(sound), 60))
    wanted = whole.process(sound)
    found = np.concatenate([pieces.process(part) for part in np.split(sound, cuts)])
    assert len(found) == 99  # the last frame ends half a hop after the sound
    assert np.array_equal(found, wanted)
    assert np.array_equal(pieces.window(), whole.window())
    pieces.reset()
    assert pieces.window() is None
    assert np.array_equal(pieces.process(sound), wanted)


def test_every_window_is_of_the_clip_that_ends_there() -> None:
    sound = np.concatenate([CLIPS["word"], CLIPS["quiet"], CLIPS["noise_in_silence"]])
    front_end = Mfcc()
    hop, clip = front_end.config.hop_samples, front_end.config.clip_hops * front_end.config.hop_samples
    assert clip == 16000
    for end in range(hop, len(sound) + 1, hop):
        front_end.process(sound[end - hop : end])
        window = front_end.window()
        assert (window is None) == (end < clip)
        if window is not None and end % 7 == 0:
            assert np.abs(window - mfcc_exact(front_end.config, sound[end - clip : end])).max() < 1e-3


def test_the_peak_of_a_frame_is_of_what_was_heard() -> None:
    quiet = np.random.default_rng(0).integers(-10, 11, 640).astype(np.int16)
    loud = quiet * np.int16(100)
    front_end = Mfcc(MfccConfig(frames=4))  # clips of five hops
    sound = np.concatenate([quiet, loud, quiet, quiet, quiet])
    heard = front_end.process(sound)[:, 0]
    # A clip's loudness does not matter, only what is louder in it: loud alone is as quiet alone.
    assert heard[0] == pytest.approx(heard[2], abs=1e-3)
    assert heard[4] < heard[2] - 10
    assert heard[8] == pytest.approx(heard[0], abs=1e-3)


def test_sound_without_a_peak() -> None:
    front_end = Mfcc()
    front_end.process(np.zeros(16000, np.int16))
    silence = front_end.window()
    assert silence is not None
    assert np.abs(silence - mfcc_exact(front_end.config, np.zeros(16000, np.int16))).max() < 1e-4
    assert np.array_equal(MLPERF.apply(silence)[:, 0], np.full(49, -128))
    # The largest sample of this is negative, and what it is divided by.
    below = np.random.default_rng(0).integers(-5000, -6, 16000).astype(np.int16)
    front_end.process(below)
    window = front_end.window()
    assert window is not None
    assert np.abs(window - mfcc_exact(front_end.config, below)).max() < 5e-3


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.long)])
def test_logarithm(step: int) -> None:
    """Two octaves around 1, all of them or some, and a thousandth of all others."""
    x = _floats(0x3F000000, 0x40000000, step, 0x7F800000)
    exact = np.log(x.astype(np.float64))
    assert np.abs(natural_log(x) / 2**23 - exact).max() < 5e-7


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.long)])
def test_square_root(step: int) -> None:
    x = _floats(0x3F000000, 0x40000000, step, 0x7CF00000)
    exact = np.sqrt(x.astype(np.float64))
    assert (np.abs(square_root(x) - exact) < 3e-7 * exact).all()
    assert square_root(np.zeros(1, np.float32))[0] == 0


def _floats(first: int, end: int, step: int, largest: int) -> np.ndarray:
    """Those with every `step`th bit pattern from `first` to `end`, and every 1009th of all normal ones."""
    patterns = np.arange(first, end, step, np.uint32), np.arange(0x00800000, largest, 1009, np.uint32)
    return np.concatenate(patterns).view(np.float32)


def test_the_defaults_are_mlperf_tinys() -> None:
    config = MfccConfig()
    assert (config.sample_rate_hz, config.window_samples, config.hop_samples, config.fft_size) == (16000, 480, 320, 512)
    assert (config.frames, config.channels, config.clip_hops) == (49, 10, 50)
    # tf.signal.hann_window is periodic for even lengths only.
    assert hann_window(480)[1] == hann_window(480)[479]
    assert hann_window(7)[6] == 0


def test_json() -> None:
    config = MfccConfig(bands=32, level="full_scale", upper_band_hz=7000)
    assert MfccConfig.from_json(config.as_json()) == config
    assert MfccConfig.from_json({}) == MfccConfig()
    with pytest.raises(TinygenError, match="no parameter 'band'"):
        MfccConfig.from_json({"band": 3})
    with pytest.raises(TinygenError, match="kind is 'fft'"):
        MfccConfig.from_json({"kind": "fft"}, "kws.json")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hop_ms": 0}, "hop_ms is 0"),
        ({"hop_ms": 2.5}, "hop_ms is 2.5.*\n.*whole number"),
        ({"channels": True}, "channels is True"),
        ({"channels": 41}, "channels is 41.*\n.*from 1 to 40"),
        ({"window_ms": 300}, "window_ms is 4800 samples\n.*16 to 4096 samples"),
        ({"window_ms": 0}, "window_ms is 0"),
        ({"upper_band_hz": 9000}, "upper_band_hz is 9000.*\n.*above 20, at most 8000"),
        ({"upper_band_hz": 10.0}, "upper_band_hz is 10"),
        ({"lower_band_hz": -1.0}, "lower_band_hz is -1"),
        ({"lower_band_hz": float("nan")}, "lower_band_hz is nan"),
        ({"floor": 0.0}, "floor is 0"),
        ({"frames": 0}, "frames is 0"),
        ({"bands": 300}, "bands is 300"),
        ({"sample_rate_hz": 10}, "sample_rate_hz is 10"),
        ({"level": "rms"}, 'level is \'rms\'.*\n.*"peak" or "full_scale"'),
        ({"rounding": "up"}, "rounding is 'up'"),
        ({"rounding": 1}, "rounding is 1.*\n.*a text"),
    ],
)
def test_what_has_no_meaning(values: dict[str, Any], says: str) -> None:
    with pytest.raises(TinygenError, match=says):
        MfccConfig(**values)


def test_samples_are_int16() -> None:
    with pytest.raises(TypeError, match="not float64"):
        Mfcc().process(np.zeros(5))
