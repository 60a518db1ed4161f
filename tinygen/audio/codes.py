"""From a front end's features to the codes of a model's input tensor.

`FeatureCodes` takes the raw features of the micro front end, as integers alone. The reference is pymicro-wakeword's
(`MicroWakeWord.process_streaming_prob`): the feature, a double, is `raw * 10 / 256` (pymicro-features); its code is
`np.round(feature / scale + zero_point)` in doubles, ties to even. Where that does not fit the input's type,
pymicro-wakeword leaves the result to the C compiler's cast; here it saturates, as ESPHome does
(esphome/components/micro_wake_word/micro_wake_word.cpp).

`CoefficientCodes` takes MFCCs, which are float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Encoding, Float32
from tinygen.lowering.ctypes import ctype, double_literal

UNIT = 10 / 256
"""What a raw feature of one is worth: pymicro-features multiplies by 0.0390625f; exact in float and double."""
_RAW = np.arange(65536, dtype=np.int64)


@dataclass(frozen=True)
class Line:
    """Below the limit: code - zero point = (raw * multiplier + offset) >> shift.

    Attributes:
        wide: the multiplier or that sum needs 64 bits.
    """

    multiplier: int
    offset: int
    shift: int
    wide: bool

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """int64, of raw values below the limit."""
        return (raw.astype(np.int64) * self.multiplier + self.offset) >> self.shift


@dataclass(frozen=True)
class FeatureCodes:
    """Raw features, 0 to 65535, as codes of one input tensor.

    Attributes:
        encoding: of the input: Affine int8 or uint8 with one scale, or Float32 (the "code" is the feature itself).
        unit: real value of a raw one.

    Raises:
        UnsupportedError: for any other encoding.
    """

    encoding: Affine | Float32
    unit: float = UNIT

    def __post_init__(self) -> None:
        checked(self.encoding)
        if isinstance(self.encoding, Affine) and self.limit == 0:
            raise UnsupportedError(
                f"with scale {self.encoding.scale[0]:g} every feature has the same code",
                where="the model's input",
                fix="Is this the input for audio features? They range from 0 to about 26.",
            )

    @property
    def ctype(self) -> str:
        """The C type of one code."""
        return ctype(self.encoding.dtype)

    @cached_property
    def table(self) -> np.ndarray:
        """The code of every raw value, 65536 of the input's type; read-only."""
        features = _RAW * self.unit
        if isinstance(self.encoding, Float32):
            codes = features.astype(np.float32)
        else:
            scaled = np.round(features / self.encoding.scale[0] + self.encoding.zero_point[0])
            codes = np.clip(scaled, *self.encoding.code_range).astype(self.encoding.dtype)
        codes.flags.writeable = False
        return codes

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Codes of raw features.

        Args:
            raw: uint16, any shape.

        Returns:
            Codes of the input's type, the same shape.
        """
        if raw.dtype != np.uint16:
            raise TypeError(f"raw features are uint16, not {raw.dtype}")
        found: np.ndarray = self.table[raw]
        return found

    @property
    def saturates_from(self) -> int | None:
        """The smallest raw value whose feature is beyond the largest code; None if there is none."""
        if isinstance(self.encoding, Float32):
            return None
        scaled = np.round(_RAW * self.unit / self.encoding.scale[0] + self.encoding.zero_point[0])
        beyond = np.flatnonzero(scaled > self.encoding.code_range[1])
        return int(beyond[0]) if beyond.size else None

    @cached_property
    def limit(self) -> int:
        """The smallest raw value that has the same code as all above it."""
        return int(np.flatnonzero(self.table == self.table[-1])[0])

    @cached_property
    def line(self) -> Line | None:
        """The multiplication that gives `table` for every raw value below `limit`; None when there is none.

        The smallest shift, and with it the shortest constants.
        """
        if isinstance(self.encoding, Float32):
            return None
        steps = self.table[: self.limit].astype(np.int64) - self.encoding.zero_point[0]
        # The first and the last raw value of each code are what bounds a line.
        change = np.flatnonzero(np.diff(steps))
        first, last = np.append(0, change + 1), np.append(change, self.limit - 1)
        for shift, multiplier in _candidates(self.unit / self.encoding.scale[0]):
            offset = max(0, int(np.max((steps[first] << shift) - first * multiplier)))
            below = int(np.min(((steps[last] + 1) << shift) - last * multiplier))
            if offset < below:
                wide = max(multiplier, (self.limit - 1) * multiplier + offset) >= 2**32
                return Line(multiplier, offset, shift, wide)
        return None

    @cached_property
    def starts(self) -> np.ndarray:
        """First raw values of the codes, uint16, ascending: code - zero point = number of these that are <= raw.

        For scales without `line`: ties to even are no straight line.
        """
        if isinstance(self.encoding, Float32):
            return np.zeros(0, np.uint16)
        steps = self.table.astype(np.int64) - self.encoding.zero_point[0]
        return np.repeat(_RAW, np.diff(steps, prepend=0)).astype(np.uint16)

    def context(self) -> dict[str, Any]:
        """For the macro `feature_code` of templates/audio/codes.j2."""
        affine = None if isinstance(self.encoding, Float32) else self.encoding
        return {
            "type": self.ctype,
            "unit": self.unit,
            "scale": double_literal(affine.scale[0]) if affine else None,
            "zero_point": affine.zero_point[0] if affine else 0,
            "limit": self.limit,
            "largest": self.table[-1],
            "line": self.line,
            "starts": self.starts if affine and self.line is None else None,
        }


@dataclass(frozen=True)
class CoefficientCodes:
    """MFCCs, float32, as codes of one input tensor: of x / scale + zero_point in single precision, saturated.

    Attributes:
        encoding: of the input: Affine int8 or uint8 with one scale, or Float32 (the "code" is the coefficient itself).
        rounding: "toward_zero", the whole part of that sum, as MLPerf Tiny's own int8 inputs have it (mlcommons/tiny,
            benchmark/training/keyword_spotting/make_bin_files.py: `np.array(dat/scale + zero_point, dtype=np.int8)`,
            which leaves what does not fit to the C compiler's cast); or "nearest", x / scale rounded half away from
            zero before the zero point is added, as TFLite's QUANTIZE has it.

    Raises:
        UnsupportedError: for any other encoding.
    """

    encoding: Affine | Float32
    rounding: str = "toward_zero"

    def __post_init__(self) -> None:
        checked(self.encoding)

    @property
    def ctype(self) -> str:
        """The C type of one code."""
        return ctype(self.encoding.dtype)

    def apply(self, coefficients: np.ndarray) -> np.ndarray:
        """Codes of the input's type, of float32 of the same shape."""
        if coefficients.dtype != np.float32:
            raise TypeError(f"coefficients are float32, not {coefficients.dtype}")
        if isinstance(self.encoding, Float32):
            return coefficients
        zero = self.encoding.zero_point[0]
        low, high = self.encoding.code_range
        quotient = coefficients / np.float32(self.encoding.scale[0])
        if self.rounding == "toward_zero":
            codes = np.clip(quotient + np.float32(zero), low, high)
        else:
            bounded = np.clip(quotient, low - zero, high - zero)
            whole = np.trunc(bounded)
            # The difference is exact, and so are ties.
            codes = whole + (bounded - whole >= 0.5) - (bounded - whole <= -0.5) + zero
        found: np.ndarray = codes.astype(self.encoding.dtype)
        return found

    def context(self) -> dict[str, Any]:
        """For the macro `coefficient_code` of templates/audio/codes.j2."""
        if isinstance(self.encoding, Float32):
            return {"type": self.ctype, "scale": None}
        low, high = self.encoding.code_range
        return {
            "type": self.ctype,
            "rounding": self.rounding,
            "scale": self.encoding.scale[0],
            "zero_point": self.encoding.zero_point[0],
            "low": low,
            "high": high,
        }


def checked(encoding: Encoding) -> Affine | Float32:
    """The encoding, if features can be converted to it.

    Raises:
        UnsupportedError: features cannot be converted to the encoding.
    """
    if isinstance(encoding, Float32):
        return encoding
    if not isinstance(encoding, Affine) or encoding.storage not in ("int8", "uint8") or encoding.per_channel:
        raise UnsupportedError(
            f"audio features cannot become {encoding}",
            where="the model's input",
            fix="An int8 or uint8 input with one scale for all channels, or a float32 input, can be fed.",
        )
    low, high = encoding.code_range
    scale, zero_point = encoding.scale[0], encoding.zero_point[0]
    if not (np.isfinite(scale) and scale > 0 and low <= zero_point <= high):
        raise UnsupportedError(
            f"scale {scale:g} with zero point {zero_point} are none an {encoding.storage} input can have",
            where="the model's input",
            fix="The scale must be above zero, and the zero point a value of the input's type.",
        )
    return encoding


def _candidates(slope: float) -> Iterator[tuple[int, int]]:
    """Shifts and multipliers whose quotient is near the slope; 256 steps times 2^shift stay below 2^63."""
    for shift in range(48):
        nearest = math.floor(slope * 2**shift)
        for multiplier in (nearest, nearest + 1):
            if 0 < multiplier < 2**46:
                yield shift, multiplier
