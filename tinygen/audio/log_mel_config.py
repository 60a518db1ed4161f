"""The parameters of log mel energies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tinygen.audio.mfcc_config import ROUNDINGS
from tinygen.audio.parameters import FrameParameters

STREAMING_WAKE_WORD = Path(__file__).with_name("mlperf_sww.json")
"""What to listen for with MLPerf Tiny's str_ww_ref_model.tflite: `tinygen build --app wakeword --config` takes it."""
PRE_EMPHASIS_BITS = 5
"""A sample less 1 - 2^-5 of the one before it."""
LEAST_POWER = 1e-30
"""Of a band, before its logarithm."""
OFFSET_DB, RANGE_DB = 52.0, 64.0
"""A feature is (level in dB + OFFSET_DB) / RANGE_DB, no less than 0 and no more than 1."""


@dataclass(frozen=True)
class LogMelConfig(FrameParameters):
    """Log mel energies as MLPerf Tiny's streaming wake word has them; the defaults are its own (mlcommons/tiny,
    benchmark/training/streaming_wakeword/get_dataset.py, `get_lfbe_func`): pre-emphasis, a Hamming window, the power
    spectrum of samples between -1 and 1, divided by the window's samples, mel bands, decibels, from 0 to 1.

    Attributes:
        channels: how many bands a frame has.
        lower_band_hz: where the lowest band begins.
        upper_band_hz: where the highest band ends.
        rounding: of the codes; see `MfccConfig`. "toward_zero" is what the benchmark's reference firmware does
            (reference_submissions/streaming_wakeword: a cast to int8_t).

    Raises:
        TinygenError: a value, or a combination, that has no meaning; says which one, and what it may be.
    """

    KIND: ClassVar[str] = "log_mel"
    NAME: ClassVar[str] = "a log mel front end"
    PLACE: ClassVar[str] = "log mel"

    window_ms: int = 64
    hop_ms: int = 32
    channels: int = 40
    lower_band_hz: float = 0.0
    upper_band_hz: float = 8000.0
    rounding: str = "toward_zero"

    def __post_init__(self) -> None:
        self._check_types()
        self._check_time()
        self._check("channels", self.channels, 1, 255)
        half = self.sample_rate_hz / 2
        self._check("lower_band_hz", self.lower_band_hz, 0, half)
        if not self.lower_band_hz < self.upper_band_hz <= half:
            raise self._wrong("upper_band_hz", self.upper_band_hz, f"above {self.lower_band_hz:g}, at most {half:g}")
        if self.rounding not in ROUNDINGS:
            raise self._wrong("rounding", self.rounding, " or ".join(f'"{choice}"' for choice in ROUNDINGS))

    @property
    def bands(self) -> int:
        """Of the mel filter bank."""
        return self.channels

    @property
    def window_hops(self) -> int:
        """Hops until the first frame's samples are all there."""
        return -(-self.window_samples // self.hop_samples)
