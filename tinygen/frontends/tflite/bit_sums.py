"""Epilogues of Larq's convolutions: what sums of signs become (core/bconv2d/output_transform.h, tflite/kernels)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.rescale_fit import Cuts, Reach, fit_rescale
from tinygen.frontends.tflite.registry import Operator
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.fixed_point import Activation, round_half_away
from tinygen.ir.tensor import Shape, Tensor

MOST_TAPS = 2**15 - 1
"""Products in a sum, so that it has 16 bits."""
_CLAMPS = {Activation.RELU: (0, MOST_TAPS), Activation.RELU6: (0, 6), Activation.RELU_N1_TO_1: (-1, 1)}
_LOW, _HIGH = -128, 127


@dataclass(frozen=True)
class BitSums:
    """The sums of a layer.

    Attributes:
        operator: of the file; its inputs behind the weights are multipliers, offsets and thresholds of each filter.
        weights: their shape, [O, rows, columns, I].
        activation: fused, of sums.
    """

    operator: Operator
    weights: Shape
    activation: Activation

    @property
    def taps(self) -> int:
        """Products in a sum, which lies between this and its negative."""
        return int(np.prod(self.weights[1:]))

    @property
    def clamp(self) -> tuple[int, int]:
        """Of the sums, before anything else."""
        low, high = _CLAMPS.get(self.activation, (-self.taps, self.taps))
        return max(low, -self.taps), min(high, self.taps)

    def to_signs(self) -> Threshold:
        """+1 where so few products are -1."""
        most = self._constant(4, "thresholds", "int32").astype(np.int64)
        least = np.clip(self.taps - 2 * most, -(2**31), 2**31)
        return Threshold(tuple((value,) for value in least.tolist()))

    def scales(self, scale: float = 1.0, zero_point: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(multipliers, offsets), float32, of the taps less the sum; for codes with this scale and zero point."""
        multipliers = self._constant(2, "multipliers", "float32").astype(np.float64)
        offsets = self._constant(3, "offsets", "float32").astype(np.float64)
        with np.errstate(over="ignore"):
            found = (
                (-multipliers / scale).astype(np.float32),
                ((offsets + self.taps * multipliers) / scale + zero_point).astype(np.float32),
            )
        self.operator.require(
            bool(all(np.isfinite(values).all() for values in found)), "its multipliers or offsets are not finite"
        )
        return found

    def to_codes(self, output: Tensor) -> Rescale:
        """The rescale with LiteRT's codes, which are rounded from single precision."""
        multipliers, offsets = self.scales(output.scale, output.zero_point)
        sums = np.arange(-self.taps, self.taps + 1)
        scaled = (self.taps - sums).astype(np.float32) * multipliers[:, None] + offsets[:, None]
        codes = np.clip(round_half_away(scaled), _LOW, _HIGH).astype(np.int64)
        sign = np.where(multipliers <= 0, 1, -1)
        rising = np.where(sign[:, None] > 0, codes, codes[:, ::-1])
        wanted = np.arange(_LOW + 1, _HIGH + 1)
        table = np.stack([np.searchsorted(row, wanted) for row in rising]) - self.taps
        reach = Reach(np.full(len(codes), -self.taps), np.full(len(codes), self.taps))
        slopes = [Fraction(abs(float(one))) for one in multipliers]
        try:
            fit = fit_rescale(Cuts(table, sign, reach), slopes, _LOW)
        except UnsupportedError as error:
            error.where = self.operator.describe()
            raise
        self.operator.require(
            fit.wrong == 0,
            f"no multiplier of 32 bits gives the codes of {fit.wrong} sums",
            fix="Let the layer's output be float32.",
        )
        if self.activation is Activation.NONE:
            return fit.rescale
        ends = codes[:, [self.clamp[0] + self.taps, self.clamp[1] + self.taps]]
        return replace(fit.rescale, floor=tuple(ends.min(axis=1).tolist()), ceiling=tuple(ends.max(axis=1).tolist()))

    def _constant(self, index: int, what: str, dtype: str) -> np.ndarray:
        """A value of each filter."""
        values, wanted = self.operator.constant(index, what), (self.weights[0],)
        self.operator.require(
            values.shape == wanted and values.dtype == dtype,
            f"its {what} are {values.dtype.name} {list(values.shape)}, not {dtype} {list(wanted)}",
        )
        return values
