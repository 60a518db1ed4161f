"""The parameters of the micro front end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tinygen.errors import TinygenError

KIND = "micro-frontend"
"""What its JSON says under "kind"."""
LARGEST_FFT = 4096
_ENERGY_BITS = 6
"""Half of the bits of a filter weight: what the filter bank's square root leaves in its output."""
_SNR_BITS = 12

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
}


@dataclass(frozen=True)
class MicroFrontendConfig:
    """The parameters of TensorFlow Lite Micro's audio front end; the defaults are those of `pymicro-features`, ESPHome
    and microWakeWord.

    Attributes:
        sample_rate_hz: of the audio.
        window_ms: a frame's length. Whole samples are taken, rounded down.
        hop_ms: from one frame's begin to the next one's.
        channels: of the mel filter bank, the features of a frame.
        lower_band_hz: where the lowest channel begins.
        upper_band_hz: where the highest channel ends; below half the sample rate.
        noise_reduction: subtract each channel's slowly moving average from it.
        smoothing_bits: fraction bits of that average.
        even_smoothing: the weight of the newest frame in the averages of channels 0, 2, ...
        odd_smoothing: likewise of channels 1, 3, ...
        min_signal_remaining: the share of a channel that is left in any case.
        pcan: per-channel amplitude normalization: a gain that falls as the noise rises (Wang et al., "Trainable
            Frontend For Robust and Far-Field Keyword Spotting", 2017).
        pcan_strength: the exponent of that gain.
        pcan_offset: is added to the noise.
        pcan_gain_bits: fraction bits of the gain.
        log: natural logarithm of what comes out.
        log_scale_shift: the logarithm is multiplied by two to the power of this.

    Raises:
        TinygenError: a value, or a combination, that has no meaning; says which one, and what it may be.
    """

    sample_rate_hz: int = 16000
    window_ms: int = 30
    hop_ms: int = 10
    channels: int = 40
    lower_band_hz: float = 125.0
    upper_band_hz: float = 7500.0
    noise_reduction: bool = True
    smoothing_bits: int = 10
    even_smoothing: float = 0.025
    odd_smoothing: float = 0.06
    min_signal_remaining: float = 0.05
    pcan: bool = True
    pcan_strength: float = 0.95
    pcan_offset: float = 80.0
    pcan_gain_bits: int = 21
    log: bool = True
    log_scale_shift: int = 6

    def __post_init__(self) -> None:
        self._check_types()
        self._check_time()
        self._check_bands()
        self._check_levels()

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
    def correction_bits(self) -> int:
        """The spectrum is 1/fft_size of what it was, and the filters' weights are 2**12 times what they were: to have
        the magnitude back, shift left by this."""
        return self.fft_size.bit_length() - 1 - _ENERGY_BITS

    @property
    def snr_shift(self) -> int:
        """signal * gain, shifted right by this, has 12 fraction bits."""
        return self.pcan_gain_bits - self.correction_bits - _SNR_BITS

    @property
    def noise_bits(self) -> int:
        """Fraction bits of the noise as PCAN's gain takes it."""
        return self.smoothing_bits - self.correction_bits

    def as_json(self) -> dict[str, Any]:
        """All parameters by name, and "kind"."""
        return {"kind": KIND, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "front end") -> MicroFrontendConfig:
        """From `as_json`; what is not there has its default.

        Args:
            where: the file, for errors.

        Raises:
            TinygenError: a name that is unknown, or a value that is wrong.
        """
        known = {field.name for field in fields(cls)}
        rest = {name: value for name, value in values.items() if name != "kind"}
        if values.get("kind", KIND) != KIND:
            raise TinygenError(f"kind is {values['kind']!r}", where=where, fix=f'It must be "{KIND}".')
        for name in rest:
            if name not in known:
                raise TinygenError(
                    f"a micro front end has no parameter {name!r}",
                    where=where,
                    fix=f"Known: {', '.join(sorted(known))}.",
                )
        return cls(**rest)

    def _check_types(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            types, wanted = _TYPES[str(field.type)]
            if not isinstance(value, types) or isinstance(value, bool) != (field.type == "bool"):
                raise _wrong(field.name, value, wanted)

    def _check_time(self) -> None:
        _check("sample_rate_hz", self.sample_rate_hz, 1000, 192_000)
        _check("hop_ms", self.hop_ms, 1, 1000)
        _check("window_ms", self.window_ms, self.hop_ms, 1000, "the hop")
        _check("window_ms", self.window_samples, 16, LARGEST_FFT, unit=" samples")
        if self.hop_samples < 1:
            raise _wrong("hop_ms", self.hop_ms, "at least one sample")

    def _check_bands(self) -> None:
        _check("channels", self.channels, 1, 255)
        _check("lower_band_hz", self.lower_band_hz, 0, self.sample_rate_hz / 2)
        if not self.lower_band_hz < self.upper_band_hz < self.sample_rate_hz / 2:
            raise _wrong(
                "upper_band_hz",
                self.upper_band_hz,
                f"above {self.lower_band_hz:g} and below {self.sample_rate_hz / 2:g}, half the sample rate",
            )

    def _check_levels(self) -> None:
        for name in ("even_smoothing", "odd_smoothing", "min_signal_remaining"):
            _check(name, getattr(self, name), 0, 1)
        _check("smoothing_bits", self.smoothing_bits, 0, 16)
        _check("log_scale_shift", self.log_scale_shift, 0, 10)
        if not self.pcan:
            return
        if not self.noise_reduction:
            raise TinygenError(
                "PCAN needs the noise that noise reduction estimates",
                where="front end: pcan",
                fix="Set pcan to false; or to leave the noise in, min_signal_remaining to 1.",
            )
        _check("pcan_strength", self.pcan_strength, 0, 4)
        _check("pcan_offset", self.pcan_offset, 1e-3, 1e9)
        _check("smoothing_bits", self.smoothing_bits, max(self.correction_bits, 0), 16, "what the FFT's size needs")
        lowest = max(self.correction_bits + _SNR_BITS, 0)
        _check("pcan_gain_bits", self.pcan_gain_bits, lowest, 30, "what the FFT's size needs")


def _check(name: str, value: float, lowest: float, highest: float, why: str = "", unit: str = "") -> None:
    if not lowest <= value <= highest:
        raise _wrong(name, value, f"from {lowest:g}{f' ({why})' if why else ''} to {highest:g}{unit}", unit)


def _wrong(name: str, value: object, wanted: str, unit: str = "") -> TinygenError:
    return TinygenError(f"{name} is {value!r}{unit}", where=f"front end: {name}", fix=f"It must be {wanted}.")
