"""The micro front end's parameters: what they may be, and what is said of those that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.audio.micro_frontend import MicroFrontend, features
from tinygen.audio.micro_tables import make_tables
from tinygen.errors import TinygenError


def test_defaults_are_those_of_pymicro_features() -> None:
    config = MicroFrontendConfig()
    assert (config.window_samples, config.hop_samples, config.fft_size) == (480, 160, 512)
    assert (config.correction_bits, config.snr_shift, config.noise_bits) == (3, 6, 7)


def test_json_there_and_back() -> None:
    config = MicroFrontendConfig(sample_rate_hz=8000, upper_band_hz=3800.0, pcan=False, log_scale_shift=4)
    assert MicroFrontendConfig.from_json(config.as_json()) == config
    assert MicroFrontendConfig.from_json({}) == MicroFrontendConfig()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 30}, "x.json: a micro front end has no parameter 'window'"),
        ({"kind": "mfcc"}, "x.json: kind is 'mfcc'"),
        ({"channels": 40.0}, "channels is 40.0"),
        ({"channels": True}, "channels is True"),
        ({"log": 1}, "log is 1"),
        ({"channels": 0}, "channels is 0"),
        ({"upper_band_hz": 8000.0}, "below 8000, half the sample rate"),
        ({"upper_band_hz": 100.0}, "above 125"),
        ({"upper_band_hz": float("nan")}, "upper_band_hz is nan"),
        ({"window_ms": 5}, "window_ms is 5"),
        ({"window_ms": 600}, "window_ms is 9600 samples"),
        ({"sample_rate_hz": 1000, "window_ms": 10, "upper_band_hz": 400.0}, "window_ms is 10 samples"),
        ({"even_smoothing": 1.5}, "even_smoothing is 1.5"),
        ({"noise_reduction": False}, "PCAN needs the noise"),
        ({"pcan_gain_bits": 14}, "pcan_gain_bits is 14"),
        ({"smoothing_bits": 2}, "smoothing_bits is 2"),
    ],
)
def test_what_cannot_be_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TinygenError) as caught:
        MicroFrontendConfig.from_json(values, where="x.json")
    assert message in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    "parameters", [{"pcan_offset": 32.0}, {"pcan_strength": 4.0, "pcan_offset": 0.5, "pcan_gain_bits": 18}], ids=str
)
def test_a_gain_that_does_not_fit(parameters: dict[str, Any]) -> None:
    with pytest.raises(TinygenError, match="PCAN's gain does not fit 16 bits"):
        make_tables(MicroFrontendConfig(**parameters))


def test_a_band_behind_the_spectrum() -> None:
    with pytest.raises(TinygenError, match="the highest band ends in bin 256 of 256"):
        make_tables(MicroFrontendConfig(upper_band_hz=7999.9999))


@pytest.mark.parametrize("samples", [np.zeros(480), np.zeros((480, 1), np.int16), np.zeros(480, np.int32)])
def test_samples_of_another_type(samples: np.ndarray) -> None:
    with pytest.raises(TinygenError, match="samples are"):
        features(samples)


def test_state_is_kept_and_reset() -> None:
    samples = np.random.default_rng(1).integers(-3000, 3000, 16000).astype(np.int16)
    frontend = MicroFrontend()
    first, second = frontend.process(samples), frontend.process(samples)
    frontend.reset()
    assert first.shape == (98, 40)
    assert second.shape == (100, 40)
    assert np.array_equal(frontend.process(samples), first)
    assert np.array_equal(np.concatenate([first, second]), features(np.concatenate([samples, samples])))
