"""Options of post-training quantization."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.errors import TinygenError

METHODS = ("minmax", "percentile", "moving_average")


@dataclass(frozen=True)
class QuantizeOptions:
    """How activations are calibrated and weights corrected.

    Attributes:
        method: "minmax": the whole range seen. "percentile": without the outermost values. "moving_average": of each
            sample's least and largest value.
        percentile: of the values within the range, for that method, at each end; above 50, at most 100.
        momentum: weight of a new sample in the moving average.
        bias_correction: move each channel's bias by the mean error that its quantized weights and inputs make on the
            calibration data (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
            2019, section 4.2, with measured means).
        correction_samples: number of calibration samples used for bias correction.
    """

    method: str = "minmax"
    percentile: float = 99.99
    momentum: float = 0.01
    bias_correction: bool = True
    correction_samples: int = 64

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise TinygenError(f"there is no calibration method '{self.method}'", fix=f"Methods: {', '.join(METHODS)}.")
        if not 50 < self.percentile <= 100:
            raise TinygenError(f"percentile {self.percentile} is not above 50 and at most 100")
        if not 0 < self.momentum <= 1:
            raise TinygenError(f"momentum {self.momentum} is not above 0 and at most 1")
        if self.correction_samples < 1:
            raise TinygenError(f"bias correction from {self.correction_samples} samples")
