"""The parameters of the micro front end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinygen.audio.parameters import FrameParameters
from tinygen.errors import TinygenError

_ENERGY_BITS = 6
"""Half of the bits of a filter weight: what the filter bank's square root leaves in its output."""
_SNR_BITS = 12


@dataclass(frozen=True)
class MicroFrontendConfig(FrameParameters):
    """The parameters of TensorFlow Lite Micro's audio front end; the defaults are those of `pymicro-features`, ESPHome
    and microWakeWord.

    Attributes:
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

    KIND: ClassVar[str] = "micro-frontend"
    NAME: ClassVar[str] = "a micro front end"
    PLACE: ClassVar[str] = "front end"

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
        self._check_time(self.hop_ms, "the hop")
        self._check_bands()
        self._check_levels()

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

    def _check_bands(self) -> None:
        self._check("channels", self.channels, 1, 255)
        self._check("lower_band_hz", self.lower_band_hz, 0, self.sample_rate_hz / 2)
        if not self.lower_band_hz < self.upper_band_hz < self.sample_rate_hz / 2:
            raise self._wrong(
                "upper_band_hz",
                self.upper_band_hz,
                f"above {self.lower_band_hz:g} and below {self.sample_rate_hz / 2:g}, half the sample rate",
            )

    def _check_levels(self) -> None:
        for name in ("even_smoothing", "odd_smoothing", "min_signal_remaining"):
            self._check(name, getattr(self, name), 0, 1)
        self._check("smoothing_bits", self.smoothing_bits, 0, 16)
        self._check("log_scale_shift", self.log_scale_shift, 0, 10)
        if not self.pcan:
            return
        if not self.noise_reduction:
            raise TinygenError(
                "PCAN needs the noise that noise reduction estimates",
                where="front end: pcan",
                fix="Set pcan to false; or to leave the noise in, min_signal_remaining to 1.",
            )
        self._check("pcan_strength", self.pcan_strength, 0, 4)
        self._check("pcan_offset", self.pcan_offset, 1e-3, 1e9)
        why = "what the FFT's size needs"
        self._check("smoothing_bits", self.smoothing_bits, max(self.correction_bits, 0), 16, why)
        self._check("pcan_gain_bits", self.pcan_gain_bits, max(self.correction_bits + _SNR_BITS, 0), 30, why)
