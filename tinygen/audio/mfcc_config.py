"""The parameters of mel-frequency cepstral coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tinygen.errors import TinygenError

KIND = "mfcc"
"""What its JSON says under "kind"."""
KEYWORD_SPOTTING = Path(__file__).with_name("mlperf_kws.json")
"""What to listen for with MLPerf Tiny's kws_ref_model.tflite: `tinygen build --app wakeword --config` takes it."""
LARGEST_FFT = 4096
LEVELS = ("peak", "full_scale")
ROUNDINGS = ("toward_zero", "nearest")


@dataclass(frozen=True)
class MfccConfig:
    """Mel-frequency cepstral coefficients as TensorFlow's `tf.signal` computes them; the defaults are those of MLPerf
    Tiny's keyword spotting (mlcommons/tiny, benchmark/training/keyword_spotting: get_dataset.py, kws_util.py).

    Attributes:
        sample_rate_hz: of the audio.
        window_ms: a frame's length. Whole samples are taken, rounded down.
        hop_ms: from one frame's begin to the next one's.
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

    sample_rate_hz: int = 16000
    window_ms: int = 30
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
        for field in fields(self):
            value = getattr(self, field.name)
            wanted, words = _TYPES[str(field.type)]
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise _wrong(field.name, value, words)
        self._check_time()
        self._check_bands()
        _check("floor", self.floor, 1e-30, 1.0)
        _check("frames", self.frames, 1, 1000)
        _check_choice("level", self.level, LEVELS)
        _check_choice("rounding", self.rounding, ROUNDINGS)

    @property
    def window_samples(self) -> int:
        return self.window_ms * self.sample_rate_hz // 1000

    @property
    def hop_samples(self) -> int:
        return self.hop_ms * self.sample_rate_hz // 1000

    @property
    def fft_size(self) -> int:
        """The window's samples rounded up to a power of two; the rest is zeros."""
        return 1 << (self.window_samples - 1).bit_length()

    @property
    def window_hops(self) -> int:
        """Hops until the first frame's samples are all there."""
        return -(-self.window_samples // self.hop_samples)

    @property
    def clip_hops(self) -> int:
        """Hops of the audio that a window of `frames` is of: those the last frame needs, and all before."""
        return self.frames - 1 + self.window_hops

    def as_json(self) -> dict[str, Any]:
        """All parameters by name, and "kind"."""
        return {"kind": KIND, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "MFCC") -> MfccConfig:
        """From `as_json`; what is not there has its default.

        Args:
            where: the file, for errors.

        Raises:
            TinygenError: a name that is unknown, or a value that is wrong.
        """
        if values.get("kind", KIND) != KIND:
            raise TinygenError(f"kind is {values['kind']!r}", where=where, fix=f'It must be "{KIND}".')
        rest = {name: value for name, value in values.items() if name != "kind"}
        known = {field.name for field in fields(cls)}
        for name in rest:
            if name not in known:
                fix = f"Known: {', '.join(sorted(known))}."
                raise TinygenError(f"MFCCs have no parameter {name!r}", where=where, fix=fix)
        return cls(**rest)

    def _check_time(self) -> None:
        _check("sample_rate_hz", self.sample_rate_hz, 1000, 192_000)
        _check("hop_ms", self.hop_ms, 1, 1000)
        _check("window_ms", self.window_ms, 1, 1000)
        if not 16 <= self.window_samples <= LARGEST_FFT:
            raise _wrong("window_ms", self.window_ms, f"16 to {LARGEST_FFT} samples long")
        if self.hop_samples < 1:
            raise _wrong("hop_ms", self.hop_ms, "at least one sample")

    def _check_bands(self) -> None:
        _check("bands", self.bands, 1, 255)
        _check("channels", self.channels, 1, self.bands)
        half = self.sample_rate_hz / 2
        _check("lower_band_hz", self.lower_band_hz, 0, half)
        if not self.lower_band_hz < self.upper_band_hz <= half:
            raise _wrong("upper_band_hz", self.upper_band_hz, f"above {self.lower_band_hz:g}, at most {half:g}")


_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "a text"),
}


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise _wrong(name, value, f"from {lowest:g} to {highest:g}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _wrong(name, value, " or ".join(f'"{choice}"' for choice in choices))


def _wrong(name: str, value: object, wanted: str) -> TinygenError:
    return TinygenError(f"{name} is {value!r}", where=f"MFCC: {name}", fix=f"It must be {wanted}.")
