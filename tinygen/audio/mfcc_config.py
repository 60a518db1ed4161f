"""The parameters of mel-frequency cepstral coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tinygen.audio.parameters import FrameParameters

KEYWORD_SPOTTING = Path(__file__).with_name("mlperf_kws.json")
"""What to listen for with MLPerf Tiny's kws_ref_model.tflite: `tinygen build --app wakeword --config` takes it."""
LEVELS = ("peak", "full_scale")
ROUNDINGS = ("toward_zero", "nearest")


@dataclass(frozen=True)
class MfccConfig(FrameParameters):
    """Mel-frequency cepstral coefficients as TensorFlow's `tf.signal` computes them; the defaults are those of MLPerf
    Tiny's keyword spotting (mlcommons/tiny, benchmark/training/keyword_spotting: get_dataset.py, kws_util.py).

    Attributes:
        channels: how many coefficients a frame has.
        bands: of the mel filter bank.
        lower_band_hz: where the lowest band begins.
        upper_band_hz: where the highest band ends.
        floor: is added to each band before its logarithm.
        level: what samples are divided by: "full_scale", 32768; or "peak", the largest sample of the whole clip, as
            get_dataset.py has it. Heard without end, the clip is what the model's window over time is of.
        frames: of that window. Counts for "peak" alone.
        rounding: of the codes. "toward_zero" is how MLPerf Tiny's own int8 inputs were made (make_bin_files.py);
            "nearest" is TFLite's, half away from zero.

    Raises:
        TinygenError: a value, or a combination, that has no meaning; says which one, and what it may be.
    """

    KIND: ClassVar[str] = "mfcc"
    NAME: ClassVar[str] = "an MFCC front end"
    PLACE: ClassVar[str] = "MFCC"

    hop_ms: int = 20
    channels: int = 10
    bands: int = 40
    lower_band_hz: float = 20.0
    upper_band_hz: float = 4000.0
    floor: float = 1e-6
    level: str = "peak"
    frames: int = 49
    rounding: str = "toward_zero"

    def __post_init__(self) -> None:
        self._check_types()
        self._check_time()
        self._check_bands()
        self._check("floor", self.floor, 1e-30, 1.0)
        self._check("frames", self.frames, 1, 1000)
        self._check_choice("level", self.level, LEVELS)
        self._check_choice("rounding", self.rounding, ROUNDINGS)

    @property
    def window_hops(self) -> int:
        """Hops until the first frame's samples are all there."""
        return -(-self.window_samples // self.hop_samples)

    @property
    def clip_hops(self) -> int:
        """Hops of the audio that a window of `frames` is of: those the last frame needs, and all before."""
        return self.frames - 1 + self.window_hops

    def _check_bands(self) -> None:
        self._check("bands", self.bands, 1, 255)
        self._check("channels", self.channels, 1, self.bands)
        half = self.sample_rate_hz / 2
        self._check("lower_band_hz", self.lower_band_hz, 0, half)
        if not self.lower_band_hz < self.upper_band_hz <= half:
            raise self._wrong("upper_band_hz", self.upper_band_hz, f"above {self.lower_band_hz:g}, at most {half:g}")

    def _check_choice(self, name: str, value: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise self._wrong(name, value, " or ".join(f'"{choice}"' for choice in choices))
