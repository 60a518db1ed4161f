"""Log mel energies: NumPy near their definition, and the C equal to NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.audio.features_c import on_host
from tests.audio.test_mfcc import CLIPS
from tinygen.audio.codes import CoefficientCodes
from tinygen.audio.emit_mfcc import mfcc_files, state_bytes
from tinygen.audio.log_mel import LogMel, LogMelConfig
from tinygen.audio.mfcc_exact import log_mel_exact
from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine
from tinygen.project.wakeword_json import features_from_json

REFERENCE = Affine("int8", (1 / 256,), (-128,))
ODD = {"window_ms": 30, "hop_ms": 20, "channels": 20, "lower_band_hz": 60.0, "upper_band_hz": 7000.0}


@pytest.mark.parametrize("values", [{}, ODD])
@pytest.mark.parametrize("clip", ["word", "clipped", "sweep", "quiet"])
def test_near_the_definition(clip: str, values: dict[str, Any]) -> None:
    config = LogMelConfig(**values)
    found = LogMel(config).process(CLIPS[clip])
    exact = log_mel_exact(config, CLIPS[clip])[: len(found)]
    assert len(found) >= 30 and np.abs(found - exact).max() < 2e-6


def test_any_number_of_samples_at_a_time() -> None:
    whole, pieces = LogMel(), LogMel()
    wanted = whole.process(CLIPS["word"])
    cuts = np.sort(np.random.default_rng(0).integers(0, len(CLIPS["word"]), 40))
    assert np.array_equal(np.concatenate([pieces.process(p) for p in np.split(CLIPS["word"], cuts)]), wanted)
    pieces.reset()
    assert np.array_equal(pieces.process(CLIPS["word"]), wanted)


@pytest.mark.parametrize("values", [{}, pytest.param(ODD, marks=pytest.mark.long)])
def test_c_on_the_host(values: dict[str, Any], tmp_path: Path) -> None:
    config = LogMelConfig(**values)
    sound = np.concatenate([CLIPS["word"][2000:9000], CLIPS["clipped"][:3000], CLIPS["quiet"][:2000]])
    front_end, codes = LogMel(config), CoefficientCodes(REFERENCE)
    whole = len(sound) // config.hop_samples * config.hop_samples
    wanted = codes.apply(front_end.process(sound[:whole]))
    assert len(np.unique(wanted)) > 50
    files = mfcc_files(config, REFERENCE)
    found = on_host(files, sound[:whole], tmp_path, state_bytes=state_bytes(config), window=False)
    assert found == wanted.tobytes()


def test_parameters() -> None:
    config = LogMelConfig(channels=20, upper_band_hz=7000.0)
    assert features_from_json(config.as_json(), "x.json") == config
    for values in ({"channels": 0}, {"upper_band_hz": 9000.0}, {"rounding": "up"}, {"window_ms": 1000}):
        with pytest.raises(TinygenError):
            LogMelConfig(**values)
