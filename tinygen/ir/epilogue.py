"""Epilogues: from an accumulator to an output code, in integers.

Batch norm, scales, bias, ReLU and the quantizer are one function of the accumulator per channel. For outputs with many
codes it is a multiplication and a shift (`Rescale`), for few codes a set of thresholds (`Threshold`; Umuroglu et al.,
"FINN", 2017, section 4.2). Layers of TFLite have that format's own (`Tflite`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.fixed_point import Activation, Rounding

_INT32 = np.iinfo(np.int32)
MOST_THRESHOLDS = 255


@dataclass(frozen=True)
class Tflite:
    """TFLite's epilogue: the scales of input, weights and output say how int8 or int16 codes are requantized; floats
    are only clamped (`tinygen.ir.ops.mac`).

    Attributes:
        activation: fused.
        rounding: of accumulators to codes; None for that of LiteRT's reference kernel of the layer.
        upward_channels: this many output channels, from the first, round ties to int8 codes upwards (UPWARDS).
    """

    activation: Activation = Activation.NONE
    rounding: Rounding | None = None
    upward_channels: int = 0


@dataclass(frozen=True)
class Rescale:
    """code = clamp((accumulator * multiplier + offset) >> shift, low, high), then clamped channel by channel.

    Arithmetic is on unbounded integers; `problem` makes sure that 64 bits hold it. Clamps per channel come from a ReLU
    in front of a batch norm, whose zero is a different code in each channel.

    Attributes:
        multiplier: int32, one for all channels or one per channel; negative where codes fall as the accumulator rises.
        offset: int64; rounding and zero point included.
        shift: 0 to 62.
        low, high: the clamp.
        floor, ceiling: clamp of each channel, within low and high; empty if there is none.
    """

    multiplier: tuple[int, ...]
    offset: tuple[int, ...]
    shift: tuple[int, ...]
    low: int
    high: int
    floor: tuple[int, ...] = ()
    ceiling: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """Number of channels that have parameters of their own; 1 if all share them."""
        return max(map(len, (self.multiplier, self.offset, self.shift, self.floor, self.ceiling)))

    @property
    def code_range(self) -> tuple[int, int]:
        return self.low, self.high

    def __str__(self) -> str:
        return f"rescale to {self.low}..{self.high}{' per channel' if self.channels > 1 else ''}"

    def problem(self, channels: int) -> str:
        """What is wrong with it for so many channels; "" when nothing is."""
        if any(len(values) not in (1, channels) for values in (self.multiplier, self.offset, self.shift)):
            return f"a rescale for {self.channels} channels, not {channels}"
        if not all(_INT32.min <= value <= _INT32.max for value in self.multiplier):
            return "a multiplier beyond 32 bits"
        if not all(0 <= value <= 62 for value in self.shift) or not all(abs(value) < 2**62 for value in self.offset):
            return "a shift beyond 62, or an offset beyond 62 bits"
        if not self.low <= self.high:
            return f"a clamp from {self.low} to {self.high}"
        if any(len(values) not in (0, channels) for values in (self.floor, self.ceiling)):
            return f"clamps for {max(len(self.floor), len(self.ceiling))} channels, not {channels}"
        floor, ceiling = self.floor or (self.low,) * channels, self.ceiling or (self.high,) * channels
        if not all(self.low <= a <= b <= self.high for a, b in zip(floor, ceiling, strict=True)):
            return f"clamps of channels outside {self.low} to {self.high}, or upside down"
        return ""

    def apply(self, accumulators: np.ndarray) -> np.ndarray:
        """Codes, int64, of int32 accumulators [..., channels]."""
        multiplier, offset, shift = (np.array(v, np.int64) for v in (self.multiplier, self.offset, self.shift))
        scaled = (accumulators.astype(np.int64) * multiplier + offset) >> shift
        floor, ceiling = (np.array(v or e, np.int64) for v, e in ((self.floor, self.low), (self.ceiling, self.high)))
        return np.clip(scaled, floor, ceiling)


@dataclass(frozen=True)
class Threshold:
    """code = number of the channel's thresholds t with sign * accumulator >= t.

    Attributes:
        thresholds: non-decreasing int32, one row for all channels or one row per channel.
            2**31 is never reached, and -2**31 always.
        sign: 1, or -1 where codes fall as the accumulator rises; one for all channels or one per channel.
    """

    thresholds: tuple[tuple[int, ...], ...]
    sign: tuple[int, ...] = (1,)

    @property
    def channels(self) -> int:
        return max(len(self.thresholds), len(self.sign))

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, len(self.thresholds[0])

    def __str__(self) -> str:
        steps = len(self.thresholds[0])
        return f"{steps} threshold{'s' if steps > 1 else ''}{' per channel' if self.channels > 1 else ''}"

    def problem(self, channels: int) -> str:
        """What is wrong with it for so many channels; "" when nothing is."""
        if any(len(values) not in (1, channels) for values in (self.thresholds, self.sign)):
            return f"thresholds for {self.channels} channels, not {channels}"
        lengths = {len(row) for row in self.thresholds}
        if len(lengths) != 1 or not 1 <= min(lengths) <= MOST_THRESHOLDS:
            return f"rows of {sorted(lengths)} thresholds"
        if any(list(row) != sorted(row) for row in self.thresholds):
            return "thresholds that do not rise"
        if not all(_INT32.min <= row[0] and row[-1] <= 2**31 for row in self.thresholds):
            return "a threshold beyond 32 bits"
        return "" if set(self.sign) <= {1, -1} else f"signs {sorted(set(self.sign))}"

    def apply(self, accumulators: np.ndarray) -> np.ndarray:
        """Codes, int64, of int32 accumulators [..., channels]."""
        signed = accumulators.astype(np.int64) * np.array(self.sign, np.int64)
        codes = np.zeros(signed.shape, np.int64)
        for column in zip(*self.thresholds, strict=True):
            codes += signed >= np.array(column, np.int64)
        return codes


Epilogue = Rescale | Threshold
"""Of exact sums of integer codes."""


def apply(epilogue: Epilogue | None, accumulators: np.ndarray) -> np.ndarray:
    """Codes of accumulators; the accumulators themselves without an epilogue."""
    return accumulators if epilogue is None else epilogue.apply(accumulators)
