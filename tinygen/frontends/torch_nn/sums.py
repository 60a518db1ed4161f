"""Sums and concatenations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Reach
from tinygen.frontends.torch_nn import operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Raw, Value, linear
from tinygen.ir.encodings import WORD_BITS, Binary
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.integer_add import IntegerAdd

_NEAR = Fraction(1, 2**26)
"""Multipliers whose ratio is this near to the exact one, relative to it, are below float32's rounding (2**-24)."""
_LIMIT = 2**31 - 2
_UNITS = 2**29
"""So many units the largest sum has where the factors need a shift."""


@dataclass(frozen=True)
class Factors:
    """A common scale of one channel's two operands: unit * ((first * a + second * b + half) >> shift) is their sum.

    Without a shift the error is within 2**-26 of the operands' magnitudes, and zero if the ratio of scales is that of
    small integers (1, above all). With a shift it is within two units: 2**-28 of the largest sum that can occur.
    """

    first: int
    second: int
    shift: int
    unit: Fraction


def factors(gains: tuple[Fraction, Fraction], largest: tuple[int, int]) -> Factors:
    """Multipliers for gains[0] * a + gains[1] * b.

    Args:
        gains: real values of integers of 1; any sign, or zero.
        largest: bounds of the magnitudes of a and b.
    """
    sizes = [abs(gain) * reach for gain, reach in zip(gains, largest, strict=True)]
    if not any(sizes):
        return Factors(0, 0, 0, Fraction(1))
    if not all(sizes):
        used = 0 if sizes[0] else 1
        sign = 1 if gains[used] > 0 else -1
        return Factors(sign * (used == 0), sign * (used == 1), 0, abs(gains[used]))
    ratio = abs(gains[0] / gains[1])
    most = math.floor((_LIMIT - largest[0]) / (ratio * largest[0] + largest[1]))
    near = ratio.limit_denominator(max(most, 1))
    signs = [1 if gain > 0 else -1 for gain in gains]
    fits = near.numerator * largest[0] + near.denominator * largest[1] <= _LIMIT
    if near and fits and abs(near - ratio) <= _NEAR * ratio:
        return Factors(signs[0] * near.numerator, signs[1] * near.denominator, 0, abs(gains[1]) / near.denominator)
    unit = (sizes[0] + sizes[1]) / _UNITS
    # Rounding a factor then adds an error of at most a quarter of a unit.
    shift = min(max(largest).bit_length() + 1, 31)
    first, second = (round(gain / unit * 2**shift) for gain in gains)
    return Factors(first, second, shift, unit)


def add(builder: Builder, a: Value, b: Value, where: str, sign: int = 1) -> Pending:
    """a + sign * b, each codes or the accumulators of a layer.

    Raises:
        UnsupportedError: an operand is clamped (ReLU) without a quantizer after it, or is the model's raw input.
    """
    left, right = (_operand(builder, x, where) for x in (a, b))
    if left.shape != right.shape or left.flat != right.flat:
        raise UnsupportedError(
            f"a sum of {list(left.shape)} and {list(right.shape)}", where=where, fix="Both need one shape."
        )
    largest = [_largest(builder, x) for x in (left, right)]
    found = [
        factors((p, sign * q), (m, n)) for p, q, m, n in zip(left.chain.gain, right.chain.gain, *largest, strict=True)
    ]
    fields = {
        "first": _shared([f.first for f in found]),
        "second": _shared([f.second for f in found]),
        "shift": _shared([f.shift for f in found]),
    }
    offsets = [p + sign * q for p, q in zip(left.chain.offset, right.chain.offset, strict=True)]
    chain = linear([f.unit for f in found], offsets)
    inputs = (left.inputs[0], right.inputs[0])
    return Pending(
        IntegerAdd, fields, inputs, left.shape, chain, _reach(left.reach, right.reach, found), where, flat=left.flat
    )


def _operand(builder: Builder, x: Value, where: str) -> Pending:
    source = operands.pending(builder, x, where)
    if not source.unclamped:
        raise UnsupportedError(
            f"a sum of what is clamped behind {source.where} and not quantized",
            where=where,
            fix=f"Put {operands.QUANTIZERS} between the activation and the sum.",
        )
    return builder.accumulators(source)


def _largest(builder: Builder, x: Pending) -> list[int]:
    """Bound of the operand's magnitudes per channel: what can occur; for up to 16 bits, the codes' full range."""
    tensor = builder.tensors[x.inputs[0]]
    if tensor.dtype == np.int32:
        return [int(v) for v in np.maximum(np.abs(x.reach.low), np.abs(x.reach.high))]
    return [integer_mac.largest_integer(tensor.encoding)] * tensor.shape[-1]


def _shared(values: Sequence[int]) -> tuple[int, ...]:
    return (values[0],) if len(set(values)) == 1 else tuple(values)


def _reach(a: Reach, b: Reach, found: Sequence[Factors]) -> Reach:
    ends = []
    for channel, f in enumerate(found):
        first = [f.first * int(end[channel]) for end in (a.low, a.high)]
        second = [f.second * int(end[channel]) for end in (b.low, b.high)]
        half = (1 << f.shift) >> 1
        ends.append([(pick(first) + pick(second) + half) >> f.shift for pick in (min, max)])
    low, high = np.array(ends, np.int64).T
    return Reach(low, high)


def concatenate(builder: Builder, parts: Sequence[Value], dim: int, where: str) -> Coded:
    """Along channels.

    Raises:
        UnsupportedError: parts have no quantizers or different encodings, `dim` is not the channels, or packed bits
            would have to be shifted.
    """
    sources = [operands.codes(builder, part, where) for part in parts if not isinstance(part, Raw)]
    if len(sources) != len(parts):
        raise operands.raw_input(where)
    ranks = {len(source.tensor.shape) for source in sources}
    if any(source.flat for source in sources) or len(ranks) != 1 or dim % min(ranks) != 1:
        raise UnsupportedError(
            f"a concatenation along dimension {dim}, or of flattened images",
            where=where,
            fix="Images are joined along channels, dim=1, before they are flattened.",
        )
    kinds = {(source.tensor.encoding, source.gain) for source in sources}
    if len(kinds) != 1:
        shown = ", ".join(sorted(str(source.tensor.encoding) for source in sources))
        raise UnsupportedError(
            f"parts of different encodings: {shown}", where=where, fix="Use one quantizer module for all of them."
        )
    whole = all(source.tensor.shape[-1] % WORD_BITS == 0 for source in sources)
    if isinstance(sources[0].tensor.encoding, Binary) and not whole:
        raise UnsupportedError(
            f"bits of {[source.tensor.shape[-1] for source in sources]} channels side by side",
            where=where,
            fix=f"Use multiples of {WORD_BITS} channels, or put the Sign behind the concatenation.",
        )
    return Coded(builder.concatenate([source.tensor for source in sources], where), step=sources[0].step)
