"""LogQuant: logarithmic weights and activations (5.6 to 5.10).

LogQuant(x) = sign(x) 2^x', 0 for 0; x' = rescale(Q(normalize(log|x|))), normalised by the smallest and largest
exponent among the nonzero values. (The thesis prints 2^x' x and |log x|; with s(x) defined and not used, sign(x) and
log|x| are meant.) The base of the logarithm cancels in this form: it only matters once exponents are whole numbers.

The form for deployment, `integer_exponents=True`, is ours: exponents are multiples of 1 (base 2) or 1/2 (base
sqrt 2), the largest is that of the largest magnitude, rounded, and below it lie 2^k - 1 of them in all; values that
round below the smallest become 0, the remaining code of k bits (k + 1 with the sign). Rounding is half up in the
logarithm. Base 2 needs shifts only. Base sqrt 2 has an int16 table, 2^(e/2) in units of the largest divided by 32767:
the rounding of an entry, at most half a unit (0.2 % of the smallest entry at 4 bits), is part of the output.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Codebook, IntegerEncoding, PowerOfTwo
from tinygen.nn.quantizers.base import WeightCodes, WeightQuantizer, check_bits, check_choice, round_half_up
from tinygen.nn.quantizers.ranges import MOMENTUM, RangedQuantizer

TABLE_TOP = 32767
# The smallest positive float32: "above zero" as a comparison x >= b.
ABOVE_ZERO = 2.0**-149
LEFT_OUT = 0.05
"""Of the nonzero values, below the range that calibration finds: the smallest ones are tiny by chance, and each octave
that they widen the range by makes all steps coarser (examples/studies/calibration)."""
_BINS, _LOWEST, _OCTAVES = 64, -149, 277
"""Bins of an octave; the exponents of float32."""


def log_range(magnitude: Tensor) -> Tensor:
    """[2] float64: the smallest and the largest log2 among the nonzero magnitudes (inf, -inf when there is none)."""
    exponents = torch.log2(magnitude)
    nonzero = magnitude > 0
    low = torch.where(nonzero, exponents, torch.inf).min()
    return torch.stack((low, torch.where(nonzero, exponents, -torch.inf).max()))


class LogGrid:
    """The magnitudes of one LogQuant: their number, values and decision boundaries for a range of exponents.

    Args:
        bits: k; 1 to 6, or 2 to 4 with integer exponents.
        base: "2" or "sqrt2".
        integer_exponents: the form for deployment.
    """

    def __init__(self, what: str, bits: int, base: str, integer_exponents: bool) -> None:
        low, high = (2, 4) if integer_exponents else (1, 6)
        self.bits = check_bits(what, bits, low, high)
        self.base = check_choice(what, base, ("2", "sqrt2"))
        self.integer = integer_exponents
        self.count = 2**bits - 1 if integer_exponents else 2**bits
        self.shifts = integer_exponents and base == "2"

    def exponents(self, span: Tensor) -> Tensor:
        """[count] float64, ascending: log2 of the magnitudes."""
        index = torch.arange(self.count, dtype=torch.float64, device=span.device)
        if self.integer:
            per_octave = 1.0 if self.base == "2" else 2.0
            return (round_half_up(per_octave * span[1]) - (self.count - 1) + index) / per_octave
        return span[0] + index / (self.count - 1) * (span[1] - span[0])

    def divides(self, span: Tensor) -> Tensor:
        """[count] float64, ascending: the decision boundaries; from each one on, the grid's next magnitude is taken.
        The first one separates zero from the smallest magnitude.
        """
        exponents = self.exponents(span)
        middles = torch.exp2((exponents[1:] + exponents[:-1]) / 2)
        if self.integer:
            half = 0.5 if self.base == "2" else 0.25
            return torch.cat((torch.exp2(exponents[:1] - half), middles))
        return torch.cat((torch.full_like(middles[:1], ABOVE_ZERO), middles))

    def scale(self, span: Tensor) -> Tensor:
        """Float32 scalar: the smallest magnitude with shifts, else the largest / 32767."""
        exponents = self.exponents(span)
        return (torch.exp2(exponents[0]) if self.shifts else torch.exp2(exponents[-1]) / TABLE_TOP).float()

    def integers(self, span: Tensor) -> Tensor:
        """[count] float64: the magnitudes in units of the scale, whole numbers."""
        exponents = self.exponents(span)
        if self.shifts:
            return torch.exp2(exponents - exponents[0])
        return round_half_up(TABLE_TOP * torch.exp2(exponents - exponents[-1]))


def whole(integers: Tensor) -> tuple[int, ...]:
    return tuple(int(value) for value in integers.tolist())


def weight_span(weights: Tensor) -> Tensor:
    """`log_range` of a layer's weights; 0, 0 when all are zero."""
    return torch.nan_to_num(log_range(weights.double().abs()), posinf=0.0, neginf=0.0)


class LogQuant(WeightQuantizer):
    """LogQuant on weights, exponents normalised over the layer; see the module for the formulas.

    The gradient passes unchanged. Encodings: PowerOfTwo (integer exponents, base 2); else a Codebook whose int16
    table rounds the thesis' form by at most half its scale (largest / 65534), and is exact for integer exponents.

    Args:
        bits: k of Q_k, for the magnitude; sign and zero come on top (4-bit codes: integer exponents, 3 bits).
        base: "2" or "sqrt2"; matters with integer exponents.
        integer_exponents: the form for deployment.
    """

    def __init__(self, bits: int, base: str = "2", integer_exponents: bool = False) -> None:
        super().__init__()
        self.grid = LogGrid("LogQuant", bits, base, integer_exponents)

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        size = weights.double().abs()
        span = weight_span(weights)
        index = torch.bucketize(size, self.grid.divides(span), right=True)
        signed = torch.sign(weights.double()) * index
        zero = torch.zeros(1, dtype=torch.float64, device=weights.device)
        if self.grid.integer:
            scale, magnitudes = self.grid.scale(span), self.grid.integers(span)
        else:
            scale, magnitudes = torch.ones((), device=weights.device), torch.exp2(self.grid.exponents(span))
        integers = torch.sign(weights.double()) * torch.cat((zero, magnitudes))[index]
        return WeightCodes(signed if self.grid.shifts else signed + self.grid.count, integers, scale)

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        if self.grid.shifts:
            return PowerOfTwo(scale, axis, exponents=self.grid.count)
        span = weight_span(weights)
        positive = self.grid.integers(span)
        table = whole(torch.cat((-positive.flip(0), torch.zeros_like(positive[:1]), positive)))
        return Codebook((float(self.grid.scale(span)),), table=table)


class LogQuantActivation(RangedQuantizer):
    """LogQuant on activations; see the module for the formulas.

    In training the exponents are normalised over the batch, in evaluation over the running range (RangedQuantizer).
    Calibration leaves out the smallest 5 % of the nonzero magnitudes.
    Boundaries: 2 to the power of the midpoints between exponents (negated as well if two-sided), and those of zero. In
        the thesis' form any x > 0 is at least the smallest magnitude. A value on a boundary belongs to the upper code,
        so that of two opposite values on boundaries one keeps the larger magnitude. The values are those of the
        encoding: PowerOfTwo for one-sided integer exponents of base 2, else a Codebook with an int16 table in ascending
        order. The gradient passes where |x| (two-sided) or x >= 0 lies below the largest exponent's end.

    Args:
        bits: k of Q_k; the thesis' form has 2^k magnitudes and zero, that with integer exponents 2^k - 1 and zero.
        base: "2" or "sqrt2"; matters with integer exponents.
        two_sided: negative values keep their sign; else they become 0, as by a ReLU.
        integer_exponents: the form for deployment.
        momentum: of the running range of exponents.
    """

    def __init__(
        self,
        bits: int,
        base: str = "2",
        two_sided: bool = False,
        integer_exponents: bool = False,
        momentum: float = MOMENTUM,
    ) -> None:
        super().__init__(momentum)
        self.grid = LogGrid("LogQuantActivation", bits, base, integer_exponents)
        self.two_sided = two_sided
        if two_sided and bits == 6:
            fix = "Use at most 6 bits one-sided, 5 two-sided."
            raise UnsupportedError("6 bits two-sided asked for", where="LogQuantActivation", fix=fix)

    def batch_range(self, x: Tensor) -> Tensor:
        return log_range(self._magnitudes(x))

    def _magnitudes(self, x: Tensor) -> Tensor:
        return x.double().abs() if self.two_sided else x.double().clamp_min(0.0)

    def counts(self, x: Tensor) -> Tensor:
        sizes = self._magnitudes(x)
        places = torch.floor(_BINS * (torch.log2(sizes[sizes > 0]) - _LOWEST)).clamp(0, _BINS * _OCTAVES - 1)
        return torch.bincount(places.long(), minlength=_BINS * _OCTAVES)

    def trimmed(self, seen: Tensor, counts: Tensor | None) -> Tensor:
        if counts is None:
            return seen
        first = int((counts.cumsum(0) > LEFT_OUT * int(counts.sum())).long().argmax())
        return torch.stack((torch.maximum(seen[0], seen.new_tensor(first / _BINS + _LOWEST)), seen[1]))

    def thresholds(self, span: Tensor) -> Tensor:
        positive = self.grid.divides(span)
        if not self.two_sided:
            return positive
        negative = -positive.flip(0)
        if not self.grid.integer:
            # Anything below zero is at least the smallest magnitude: the step to zero is at zero itself.
            negative = torch.cat((negative[:-1], torch.zeros_like(negative[:1])))
        return torch.cat((negative, positive))

    def levels(self, span: Tensor) -> tuple[Tensor, Tensor]:
        positive = self.grid.integers(span)
        zero = torch.zeros_like(positive[:1])
        values = (-positive.flip(0), zero, positive) if self.two_sided else (zero, positive)
        return torch.cat(values), self.grid.scale(span)

    def encoding(self) -> IntegerEncoding:
        span = self.range()
        scale = (float(self.grid.scale(span)),)
        if self.grid.shifts and not self.two_sided:
            return PowerOfTwo(scale, exponents=self.grid.count)
        integers, _ = self.levels(span)
        return Codebook(scale, table=whole(integers))

    def surrogate(self, x: Tensor, span: Tensor) -> Tensor:
        exponents = self.grid.exponents(span)
        step = exponents[-1] - exponents[-2]
        end = torch.exp2(torch.maximum(span[1], exponents[-1] + step / 2)).to(x.dtype)
        return torch.clamp(x, -end if self.two_sided else torch.zeros_like(end), end)
