"""Sums of two codes of which one has 16 or 32 bits: within 32 bits, and finished by one multiplication.

A code of 32 bits is clamped first: far from zero all codes of one sign give the same result. Then only few pairs are
next to a step: for each code of one operand, the codes of the other between which the result changes. Those pairs bound
a line (see `staircase`); all other pairs are then right, since results never fall as that code rises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir.encodings import Affine, IntegerEncoding
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.lowering.kernels.support.epilogues.integer_layer import falling_channels, fused, rising_epilogue
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.epilogues.staircase import NONE, Staircase, ends_of_steps, fit_between

LARGEST = 2**31 - 2**20
"""Of sums that a multiplication finishes: its bias may be added."""
_COMPARED = 2**30 - 2**20
"""Of sums that are compared: thresholds, which lie just beyond where they are not met, may be subtracted."""
_SCALED = 2**29
_MOST_CODES = 256
_WIDEST = 2**61


@dataclass(frozen=True, eq=False)
class WideSums:
    """The operands of the sum; arrays are int64, per channel.

    Attributes:
        factors: of either operand [2, C], negated where codes fall as the sum rises; less precise where `exact` is
            false.
        wide: which operand has many codes.
        clamped: whether that one is clamped.
        limits: the largest absolute values after clamping.
        largest: upper bound of absolute sums.
        exact: whether these are the operator's own sums.
    """

    factors: np.ndarray
    wide: int
    clamped: bool
    limits: np.ndarray
    largest: np.ndarray
    exact: bool


def wide_sums(node: Node) -> WideSums | None:
    """None if neither operand is wide, if both are and sums are shifted, or if the clamp would change a result."""
    op = node.op
    assert isinstance(op, IntegerAdd)
    assert op.epilogue is not None
    wide = 1 if node.input(0).dtype.itemsize < node.input(1).dtype.itemsize else 0
    a, b = node.input(wide).integer, node.input(1 - wide).integer
    if not isinstance(a, Affine) or a.dtype.itemsize < 2 or any(a.zero_point):
        return None
    if _count(b) > _MOST_CODES and any(op.shift):
        return None
    channels = node.input(0).shape[-1]
    factors = _factors(op, channels)
    factors = np.where(falling_channels(op.epilogue, channels), -factors, factors)
    slopes, products = np.abs(factors[wide]), np.multiply.outer(factors[1 - wide], _ends_of(b))
    if slopes.max() >= 2**31 or np.abs(products).max() >= _WIDEST:
        return None
    reach = np.maximum(products.max(axis=1), -products.min(axis=1))
    clamped = a.dtype == np.int32
    shift = _per_channel(op.shift, channels)
    compared = clamped and not isinstance(op.epilogue, Rescale)
    room = np.minimum((_COMPARED if compared else LARGEST) << shift, _WIDEST) - reach
    if room.min() < 0:
        return None
    limits = np.minimum(room // np.maximum(slopes, 1), 2**31 - 1) if clamped else np.full(channels, 2**15, np.int64)
    if not clamped and np.any(slopes * limits > room):
        return None
    if clamped and not _saturated(op, slopes, limits, products):
        return None
    found = WideSums(factors, wide, clamped, limits, slopes * limits + reach, exact=True)
    return _scaled(found, shift) if any(op.shift) else found


def _scaled(sums: WideSums, shift: np.ndarray) -> WideSums:
    """Factors with which sums that are shifted fit 30 bits."""
    scale = np.where(shift > 0, np.minimum(1.0, _SCALED / np.maximum(sums.largest, 1)), 1.0)
    factors = np.round(sums.factors * scale).astype(np.int64)
    # Rounding adds up to a half for each unit of an operand.
    rounded = np.where(shift > 0, (sums.limits >> 1) + integer_mac.LARGEST // 2**12, 0)
    largest = np.ceil(sums.largest * scale).astype(np.int64) + rounded
    return WideSums(factors, sums.wide, sums.clamped, sums.limits, largest, exact=False)


def fit_wide(node: Node, sums: WideSums) -> Epilogue | None:
    """The multiplication that finishes `sums`; None where none was found."""
    op = node.op
    assert isinstance(op, IntegerAdd)
    epilogue, channels = op.epilogue, node.input(0).shape[-1]
    if not isinstance(epilogue, Rescale) or sums.largest.max() >= LARGEST:
        return None
    if max(epilogue.high - epilogue.low + 1, _count(node.input(1 - sums.wide).integer)) > _MOST_CODES:
        return None
    falling, factors, shift = (
        falling_channels(epilogue, channels),
        _factors(op, channels),
        _per_channel(op.shift, channels),
    )
    rising = rising_epilogue(epilogue, channels)
    assert isinstance(rising, Rescale)
    low, high = epilogue.code_range
    held = np.full(channels, LARGEST, np.int64)
    unclamped = replace(rising, floor=(), ceiling=())
    line = Staircase(unclamped.apply, np.ones(channels), -held, held, low, high)
    steps, at, below = ends_of_steps(line)
    # Where the operator's own sum, its sign turned where codes fall, begins to give a code.
    half = (np.int64(1) << shift) >> 1
    begin = np.where(at != NONE, at, np.where(below != NONE, below + 1, 0))
    begin = np.where(falling, ((begin - 1) << shift) + half + 1, (begin << shift) - half)
    own = np.where(falling, -factors, factors)
    integers = _integers(node.input(1 - sums.wide).integer)
    ends = [
        _ends(own[:, c], sums.factors[:, c], sums.wide, int(sums.limits[c]), integers, begin[:, c])
        for c in range(channels)
    ]
    least, most = (np.stack(columns, axis=1) for columns in zip(*ends, strict=True))
    least, most = np.where(at != NONE, least, NONE), np.where(below != NONE, most, NONE)
    if np.any((most >= least) & (least != NONE) & (most != NONE)):
        return None
    multiplier, scale = (_per_channel(v, channels) for v in (rising.multiplier, rising.shift))
    real = np.maximum(np.abs(multiplier), 1) / 2.0 ** (scale + shift)
    ratio = np.abs(sums.factors[sums.wide]) / np.maximum(np.abs(own[sums.wide]), 1)
    real = np.where(ratio > 0, real / np.where(ratio > 0, ratio, 1), real)
    found = fit_between(replace(line, real=real, lows=-sums.largest, highs=sums.largest), (steps, least, most))
    return None if found is None else fused(rising, found, np.zeros(channels, np.int64))


def _ends(
    own: np.ndarray, factors: np.ndarray, wide: int, limit: int, integers: np.ndarray, begin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each step of a channel, the least sum that reaches it and the largest that does not; NONE for neither.

    Args:
        own, factors: the operator's and the kernel's, of both operands.
        integers: of the narrow operand.
        begin: the operator's sums at which steps lie.
    """
    sign = -1 if own[wide] < 0 else 1
    slope, others = int(sign * own[wide]), own[1 - wide] * integers
    rest = begin[:, None] - others
    # The first integer of the wide operand, counted in the direction in which codes rise.
    first = -(-rest // slope) if slope else np.where(rest <= 0, -limit, limit + 1)
    moved = factors[1 - wide] * integers
    step = sign * factors[wide]
    at = np.where(first <= limit, np.maximum(first, -limit) * step + moved, NONE)
    below = np.where(first > -limit, np.minimum(first - 1, limit) * step + moved, -NONE)
    least, most = at.min(axis=1), below.max(axis=1)
    return np.asarray(least), np.where(most == -NONE, NONE, most)


def _factors(op: IntegerAdd, channels: int) -> np.ndarray:
    return np.stack([_per_channel(op.first, channels), _per_channel(op.second, channels)])


def _per_channel(values: tuple[int, ...], channels: int) -> np.ndarray:
    return np.broadcast_to(np.array(values, np.int64), channels)


def _count(encoding: IntegerEncoding) -> int:
    low, high = encoding.code_range
    return high - low + 1


def _integers(encoding: IntegerEncoding) -> np.ndarray:
    low, high = encoding.code_range
    return encoding.integers(np.arange(low, high + 1).astype(encoding.dtype)).astype(np.int64)


def _ends_of(encoding: IntegerEncoding) -> np.ndarray:
    """All integers of few codes; of more, which are affine, the ends."""
    if _count(encoding) <= _MOST_CODES:
        return _integers(encoding)
    return encoding.integers(np.array(encoding.code_range).astype(encoding.dtype)).astype(np.int64)


def _saturated(op: IntegerAdd, slopes: np.ndarray, limits: np.ndarray, products: np.ndarray) -> bool:
    """Whether codes at the limits are those of all beyond, whatever the other operand is."""
    assert op.epilogue is not None
    channels = len(slopes)
    shift = _per_channel(op.shift, channels)
    sign = np.where(falling_channels(op.epilogue, channels), -1, 1)
    ends = np.stack([slopes * limits + products.min(axis=1), -slopes * limits + products.max(axis=1)]) * sign
    held = np.clip((ends + ((1 << shift) >> 1)) >> shift, -integer_mac.LARGEST, integer_mac.LARGEST)
    far = np.stack([sign, -sign]) * integer_mac.LARGEST
    return bool(np.all((slopes == 0) | (op.epilogue.apply(held) == op.epilogue.apply(far))))
