"""What `emit_features` writes: files and codes, whatever the front end and the model's input."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.audio.features_c import on_host
from tests.audio.test_mfcc import CLIPS
from tinygen.audio.codes import CoefficientCodes, FeatureCodes
from tinygen.audio.emit import FeatureConfig, emit_features
from tinygen.audio.mfcc import Mfcc
from tinygen.audio.mfcc_config import MfccConfig
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.audio.micro_frontend import MicroFrontend
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Encoding, Float32, Levels

WAKEWORD = Affine("int8", (0.10196078568696976,), (-128,))
SOUND = np.concatenate([CLIPS["word"][2000:8000], CLIPS["clipped"][:3000]])


def run(config: FeatureConfig, encoding: Encoding | None, folder: Path) -> bytes:
    assert emit_features(config, encoding, folder) == ["audio/features.c"]
    files = {path.name: path.read_text() for path in (folder / "audio").iterdir()}
    said = re.search(r"owns it: (\d+) bytes", files["features.h"])
    assert said
    return on_host(files, SOUND, folder / "host", state_bytes=int(said[1]))


@pytest.mark.parametrize("encoding", [WAKEWORD, Affine("uint8", (10 / 64,), (0,)), Float32()], ids=str)
def test_micro_front_end(encoding: Affine | Float32, tmp_path: Path) -> None:
    raw = MicroFrontend(MicroFrontendConfig()).process(SOUND)
    assert len(raw) == 54
    assert run(MicroFrontendConfig(), encoding, tmp_path) == FeatureCodes(encoding).apply(raw).tobytes()


def test_micro_front_end_without_a_model(tmp_path: Path) -> None:
    assert run(MicroFrontendConfig(), None, tmp_path) == MicroFrontend(MicroFrontendConfig()).process(SOUND).tobytes()


@pytest.mark.parametrize("encoding", [None, WAKEWORD], ids=str)
def test_mfcc(encoding: Affine | None, tmp_path: Path) -> None:
    config = MfccConfig(level="full_scale", hop_ms=10)
    codes = CoefficientCodes(encoding or Float32())
    assert run(config, encoding, tmp_path) == codes.apply(Mfcc(config).process(SOUND)).tobytes()


@pytest.mark.parametrize("config", [MicroFrontendConfig(), MfccConfig()], ids=lambda config: type(config).__name__)
def test_inputs_that_cannot_be_fed_leave_nothing_behind(config: FeatureConfig, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="cannot become signed 4-bit"):
        emit_features(config, Levels((0.1,), bits=4, signed=True), tmp_path / "project")
    assert not (tmp_path / "project").exists()
