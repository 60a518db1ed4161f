"""The micro front end's C against its meaning in NumPy: other parameters, sanitizers, emulated cores."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.audio.features_c import on_host
from tests.audio.micro_core import CoreFrontend
from tests.audio.sounds import make, mixed
from tests.targets.tools import requires_package, requires_tool
from tinygen.audio import fixed_fft, native
from tinygen.audio.emit import emit_features, micro_frontend_files
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.audio.micro_frontend import MicroFrontend, features
from tinygen.audio.micro_tables import WINDOW_BITS, make_tables
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_shared_library, find_toolchain

# Whole and odd windows, FFTs of both shapes, frames that end within a hop, one hop to a window, every stage left out.
PARAMETERS: dict[str, dict[str, Any]] = {
    "8 kHz": {"sample_rate_hz": 8000, "upper_band_hz": 3800.0},
    "20 of 10 ms, 32 channels": {"window_ms": 20, "channels": 32},
    "25 of 10 ms": {"window_ms": 25},
    "one hop": {"window_ms": 10, "channels": 20},
    "no PCAN": {"pcan": False},
    "no noise reduction": {"pcan": False, "noise_reduction": False},
    "no log": {"log": False},
    "nothing behind the filters": {"log": False, "pcan": False, "noise_reduction": False},
    "shares that exceed one": {
        "sample_rate_hz": 8000,
        "channels": 16,
        "upper_band_hz": 3800.0,
        "log": False,
        "pcan": False,
        "noise_reduction": False,
    },
    "odd window": {"sample_rate_hz": 11025, "window_ms": 25, "upper_band_hz": 5000.0, "log_scale_shift": 3},
    "large": {"sample_rate_hz": 48000, "window_ms": 40, "hop_ms": 20, "channels": 80, "upper_band_hz": 20000.0},
    "tiny": {
        "sample_rate_hz": 8000,
        "window_ms": 4,
        "hop_ms": 2,
        "channels": 6,
        "lower_band_hz": 300.0,
        "upper_band_hz": 3000.0,
        "odd_smoothing": 0.025,
    },
}
QUICK = ("8 kHz", "25 of 10 ms", "nothing behind the filters", "odd window", "shares that exceed one")


def test_a_filter_share_that_is_rounded_up_twice_is_among_the_parameters() -> None:
    """Where a bin's two shares do not add up to one, the C has a line more."""
    assert any(
        "both shares" in micro_frontend_files(MicroFrontendConfig(**PARAMETERS[name]))["features.c"] for name in QUICK
    )


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in PARAMETERS]
)
def test_parameters(name: str) -> None:
    config = MicroFrontendConfig(**PARAMETERS[name])
    samples = mixed(3, config.sample_rate_hz)
    wanted = MicroFrontend(config).process(samples)
    assert len(np.unique(wanted)) > 50
    assert np.array_equal(features(samples, config), wanted)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "host_toolchain", lambda: None)
    monkeypatch.setattr(native, "_library", None)
    samples = mixed(1)
    assert np.array_equal(features(samples), MicroFrontend().process(samples))


def test_recordings_shorter_than_a_window() -> None:
    assert features(np.zeros(479, np.int16)).shape == (0, 40)
    assert features(np.zeros(0, np.int16)).shape == (0, 40)
    assert features(np.zeros(480, np.int16)).shape == (1, 40)


@requires_tool("gcc")
@pytest.mark.parametrize("name", ["default", "odd window"])
def test_under_sanitizers(name: str, tmp_path: Path) -> None:
    config = MicroFrontendConfig(**PARAMETERS.get(name, {}))
    samples = mixed(1.2, config.sample_rate_hz)
    samples = samples[: samples.size // config.hop_samples * config.hop_samples]
    files = micro_frontend_files(config)
    said = re.search(r"owns it: (\d+) bytes", files["features.h"])
    assert said
    output = on_host(files, samples, tmp_path, state_bytes=int(said[1]))
    frames = np.frombuffer(output, np.uint16).reshape(-1, config.channels)
    # In whole hops, where the last one may not be enough for another frame.
    assert 0 <= len(MicroFrontend(config).process(samples)) - len(frames) <= 1
    assert np.array_equal(frames, MicroFrontend(config).process(samples)[: len(frames)])


SQUARE_ROOTS = """
#include "audio/features.c"
uint64_t first_wrong(uint64_t x, uint64_t step, uint32_t count);
uint64_t first_wrong(uint64_t x, uint64_t step, uint32_t count)
{
    for (; count > 0U; count--, x += step) {
        const uint64_t root = square_root(x);
        const bool above = root == 0U ? x == 0U : x > root * root - root;
        const bool below = x <= root * root + root || (root == 0xFFFFU && x >> 32 == 0U);
        if (!above || !below) {
            return x;
        }
    }
    return UINT64_MAX;
}
"""


def test_square_root(tmp_path: Path) -> None:
    """The nearest: root^2 - root < x <= root^2 + root, around powers of two and squares, and in between."""
    emit_features(MicroFrontendConfig(), None, tmp_path)
    (tmp_path / "roots.c").write_text(SQUARE_ROOTS)
    code = HostCode(tmp_path, ("roots.c",), include_dirs=(".",))
    library = ctypes.CDLL(
        str(build_shared_library(code, tmp_path / "roots.so", find_toolchain(None, load_board("host"))))
    )
    wrong = library.first_wrong
    wrong.restype, wrong.argtypes = ctypes.c_uint64, [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32]
    rng = np.random.default_rng(1)
    starts = [max(0, (1 << bits) - 2000) for bits in range(60)]
    starts += [max(0, int(root) ** 2 - 2000) for root in np.exp2(rng.uniform(0, 29.9, 500))]
    assert [start for start in starts if wrong(start, 1, 4000) != 2**64 - 1] == []
    assert wrong(0, 1, 1 << 17) == 2**64 - 1
    assert wrong(1, (1 << 60) // 2_000_003, 2_000_000) == 2**64 - 1


@requires_package("unicorn")
@pytest.mark.parametrize(("board", "budget"), [("f746zg", 32_000), ("esp32c3", 57_000)])
def test_emulated_core(board: str, budget: int, tmp_path: Path) -> None:
    """Equal on a core with SIMD and on one without, within a bound for the worst hop in instructions."""
    core = CoreFrontend(board, MicroFrontendConfig(), tmp_path)
    samples = mixed(3)
    frames = core.process(samples)
    assert len(frames) == 298
    assert np.array_equal(frames, MicroFrontend().process(samples))
    assert max(core.instructions) < budget


@pytest.mark.long
@requires_package("unicorn")
@pytest.mark.parametrize(
    ("board", "toolchain"),
    [
        pytest.param("f746zg", "gcc", marks=requires_tool("arm-none-eabi-gcc")),
        pytest.param("esp32c3-core", "gcc", marks=requires_tool("riscv64-unknown-elf-gcc")),
        pytest.param("cortex-m0plus", "zig"),
    ],
)
def test_other_compilers_and_cores(board: str, toolchain: str, tmp_path: Path) -> None:
    core = CoreFrontend(board, MicroFrontendConfig(), tmp_path, toolchain)
    samples = mixed(3)
    assert np.array_equal(core.process(samples), MicroFrontend().process(samples))


@requires_package("unicorn")
def test_odd_window_on_an_emulated_core(tmp_path: Path) -> None:
    config = MicroFrontendConfig(**PARAMETERS["odd window"])
    samples = make("swelling", 0.5, config.sample_rate_hz)
    frames = CoreFrontend("f746zg", config, tmp_path).process(samples)
    assert np.array_equal(frames, MicroFrontend(config).process(samples)[: len(frames)])
    assert len(frames) == 48


@pytest.mark.parametrize("name", ["default", *PARAMETERS])
def test_the_fft_never_wraps_around(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lets a core compute with wider sums: of no sound does any part of any stage come near 16 bits."""
    config = MicroFrontendConfig(**PARAMETERS.get(name, {}))
    tables = make_tables(config)
    rng = np.random.default_rng(3)
    # The loudest that a bin can be: full-scale squares of its frequency and any phase.
    time, bins = np.arange(config.window_samples), rng.uniform(0, config.fft_size / 2, (300, 1))
    waves = np.cos(2 * np.pi * bins * time / config.fft_size + rng.uniform(0, 7, (300, 1)))
    samples = np.zeros((config.fft_size, 300), np.int16)
    samples[: config.window_samples] = ((np.where(waves > 0, 32767, -32768) * tables.window) >> WINDOW_BITS).T
    largest: list[int] = []

    def held(values: np.ndarray) -> np.ndarray:
        largest.append(int(np.abs(values).max()))
        return values

    monkeypatch.setattr(fixed_fft, "_wrap", held)
    tables.fft(samples)
    assert len(largest) > 10
    assert max(largest) < 26_000
