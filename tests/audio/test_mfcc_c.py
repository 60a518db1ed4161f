"""The C that computes MFCCs: equal to its arithmetic in NumPy, on this computer and on cores with and without FPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.audio.features_c import on_core, on_host
from tests.audio.test_mfcc import CLIPS
from tests.support.board_batch import M0PLUS, M4_SOFT, M7, Core
from tests.targets.tools import requires_package
from tinygen.audio.codes import CoefficientCodes
from tinygen.audio.emit_mfcc import mfcc_files, state_bytes
from tinygen.audio.mfcc import Mfcc, MfccConfig
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Float32

MLPERF = Affine("int8", (float(np.float32(0.5847029)),), (83,))
CASES: dict[str, tuple[dict[str, Any], Affine | None]] = {
    "mlperf": ({}, MLPERF),
    "short_clip": ({"frames": 3, "rounding": "nearest"}, MLPERF),
    "level": ({"level": "full_scale"}, MLPERF),
    "level_unsigned": ({"level": "full_scale", "rounding": "nearest"}, Affine("uint8", (0.75,), (200,))),
    "float": ({"level": "full_scale"}, None),
    "float_windows": ({"frames": 2}, None),
    # An FFT of 128 points begins with a stage of radix 2, and its window has no zeros.
    "power_of_two": (
        {"sample_rate_hz": 8000, "window_ms": 32, "hop_ms": 16, "channels": 13, "bands": 26, "frames": 4},
        None,
    ),
    # More hops than one before the first frame.
    "long_window": ({"window_ms": 64, "hop_ms": 10, "level": "full_scale", "upper_band_hz": 8000.0}, None),
    # Gaps between frames; an odd window; every band up to half the sample rate.
    "odd_window": (
        {
            "sample_rate_hz": 22050,
            "window_ms": 20,
            "hop_ms": 25,
            "channels": 20,
            "bands": 20,
            "floor": 1e-3,
            "lower_band_hz": 0.0,
            "upper_band_hz": 11025.0,
            "level": "full_scale",
        },
        None,
    ),
    # More bands than bins: some are empty. The FFT has one stage of each radix.
    "tiny": (
        {"sample_rate_hz": 8000, "window_ms": 2, "hop_ms": 1, "channels": 40, "level": "full_scale"},
        None,
    ),
}


def sound() -> np.ndarray:
    clips = [CLIPS["word"][2000:9000], CLIPS["noise_in_silence"][7000:13000], CLIPS["clipped"][:3000]]
    return np.concatenate([*clips, CLIPS["quiet"][:4000], CLIPS["sweep"][:6000]])


def expected(config: MfccConfig, encoding: Affine | None, samples: np.ndarray, *, window: bool) -> bytes:
    """What the C writes of the same samples."""
    codes = CoefficientCodes(encoding or Float32(), config.rounding)
    front_end = Mfcc(config)
    found = []
    for start in range(0, len(samples) - config.hop_samples + 1, config.hop_samples):
        found.append(codes.apply(front_end.process(samples[start : start + config.hop_samples])))
        frames = front_end.window() if window else None
        if frames is not None:
            found.append(codes.apply(frames))
    return b"".join(part.tobytes() for part in found)


LONG = ("level", "level_unsigned", "float_windows", "long_window", "power_of_two")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in CASES])
def test_c_on_the_host(name: str, tmp_path: Path) -> None:
    values, encoding = CASES[name]
    config = MfccConfig(**values)
    window = config.level == "peak"
    samples = sound()[: 2400 if name == "tiny" else None]
    wanted = expected(config, encoding, samples, window=window)
    files = mfcc_files(config, encoding)
    found = on_host(files, samples, tmp_path, state_bytes=state_bytes(config), window=window)
    assert len(wanted) > 500
    assert found == wanted


@requires_package("ziglang")
def test_clang_gives_the_same(tmp_path: Path) -> None:
    config, samples = MfccConfig(), sound()
    wanted = expected(config, MLPERF, samples, window=True)
    files = mfcc_files(config, MLPERF)
    # Undefined steps end the program; zig would take 25 s to build what says which.
    flags = ("-O3", "-fsanitize=undefined", "-fsanitize-trap=undefined")
    bytes_ = state_bytes(config)
    assert on_host(files, samples, tmp_path, state_bytes=bytes_, window=True, compiler="zig", flags=flags) == wanted


@requires_package("ziglang")
@requires_package("unicorn")
@pytest.mark.parametrize(
    ("core", "level"),
    [(M7, "-O2"), *(pytest.param(*case, marks=pytest.mark.long) for case in ((M4_SOFT, "-O2"), (M0PLUS, "-Os")))],
)
def test_c_on_cores(core: Core, level: str, tmp_path: Path) -> None:
    config = MfccConfig(frames=6)
    samples = np.concatenate([CLIPS["word"][3000:7000], CLIPS["sweep"][:3000]])
    hops = len(samples) // config.hop_samples
    wanted = expected(config, MLPERF, samples, window=True)
    files = mfcc_files(config, MLPERF)
    assert on_core(files, samples, tmp_path, core, len(wanted), hops=hops, window=True, level=level) == wanted


def test_the_same_text_each_time() -> None:
    assert mfcc_files(MfccConfig(), MLPERF) == mfcc_files(MfccConfig(), MLPERF)


def test_inputs_that_cannot_be_fed() -> None:
    with pytest.raises(UnsupportedError, match="cannot become int16"):
        mfcc_files(MfccConfig(), Affine("int16", (0.1,), (0,)))
