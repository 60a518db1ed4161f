"""Sums of two codes as a look-up, or as one shifted sum of two tables or products, checked for every pair of codes.

A sum of codes is brought to a common scale, rounded, and turned into a code by an epilogue. All that matters is the
code of each pair, and there are at most 65,536: with factors or tables given, each pair bounds what is added to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.tensor import Tensor

_MOST_CODES = 256
_LARGEST = 2**30
_SHIFTS = 4
"""Precisions that are tried, from the finest."""
_NEAR = 16
_UNBOUNDED = 2**60
_MOST_SHIFT = 40
_NEVER = 2**31 - 1


@dataclass(frozen=True)
class PairSum:
    """The sum of one channel; equal for channels that compute the same.

    Attributes:
        first, second, shift: factors and shift of the operands' integers.
        epilogue: of one channel.
        a, b: encodings of the operands, at most 256 codes each.
    """

    first: int
    second: int
    shift: int
    epilogue: Epilogue
    a: IntegerEncoding
    b: IntegerEncoding

    def codes(self) -> np.ndarray:
        """Of all pairs [codes of a, codes of b]."""
        sums = self.first * _integers(self.a)[:, None] + self.second * _integers(self.b) + ((1 << self.shift) >> 1)
        held = np.clip(sums >> self.shift, -integer_mac.LARGEST, integer_mac.LARGEST)
        return self.epilogue.apply(held[..., None])[..., 0].astype(np.int64)


def _integers(encoding: IntegerEncoding) -> np.ndarray:
    low, high = encoding.code_range
    return encoding.integers(np.arange(low, high + 1).astype(encoding.dtype)).astype(np.int64)


def pair_sums(op: IntegerAdd, a: Tensor, b: Tensor) -> list[PairSum] | None:
    """Per channel, one where all are alike; None without an epilogue, and for operands of more than 256 codes."""
    if op.epilogue is None or any(_count(tensor) > _MOST_CODES for tensor in (a, b)):
        return None
    found = [
        PairSum(_of(op.first, c), _of(op.second, c), _of(op.shift, c), _channel(op.epilogue, c), a.integer, b.integer)
        for c in range(a.shape[-1])
    ]
    return found[:1] if len(set(found)) == 1 else found


def _count(tensor: Tensor) -> int:
    low, high = tensor.integer.code_range
    return high - low + 1


def _of(values: Sequence[int], channel: int) -> int:
    return values[channel if len(values) > 1 else 0]


def _channel(epilogue: Epilogue, channel: int) -> Epilogue:
    if isinstance(epilogue, Threshold):
        row = epilogue.thresholds[channel if len(epilogue.thresholds) > 1 else 0]
        return Threshold((row,), (_of(epilogue.sign, channel),))
    bounds = ((_of(v, channel),) if v else () for v in (epilogue.floor, epilogue.ceiling))
    multiplier, offset, shift = ((_of(v, channel),) for v in (epilogue.multiplier, epilogue.offset, epilogue.shift))
    return Rescale(multiplier, offset, shift, epilogue.low, epilogue.high, *bounds)


@dataclass(frozen=True, eq=False)
class Tables:
    """code = clamp((first[a] + second[b]) >> shift), int32."""

    first: np.ndarray
    second: np.ndarray
    shift: int


@dataclass(frozen=True)
class Line:
    """code = clamp((first * a + second * b + offset) >> shift) in 64 bits, of codes counted from their lowest."""

    first: int
    second: int
    offset: int
    shift: int


def fit_tables(pair: PairSum) -> Tables | None:
    """Tables that give every pair its code; None where none was found."""
    found = _tables(pair)
    return None if found is None else Tables(*found)


@lru_cache(maxsize=64)
def _tables(pair: PairSum) -> tuple[np.ndarray, np.ndarray, int] | None:
    codes = pair.codes()
    low, high = int(codes.min()), int(codes.max())
    integers = _integers(pair.a)
    slope = _slopes(pair, codes, integers, _integers(pair.b))
    for shift, delta in product(_precisions(codes), sorted(range(-_NEAR, _NEAR + 1), key=abs)):
        first = (round(slope[0] * 2**shift) + delta) * integers
        if np.abs(first).max() >= _LARGEST:
            continue
        least, most = _bounds(first[:, None], codes, shift, low, high, axis=0)
        # If every code is the lowest or the highest, there is no bound from the other side.
        second = np.clip((least + most) // 2, -_LARGEST, _LARGEST)
        if np.all((least <= second) & (second <= most)):
            return first, second, shift
    return None


def fit_line(pair: PairSum, shift: int) -> Line | None:
    """Factors of the codes themselves, for sums of 64 bits and a given shift."""
    codes = pair.codes()
    slope = _code_slopes(pair)
    a, b = (np.arange(count, dtype=np.int64) for count in codes.shape)
    low, high = int(codes.min()), int(codes.max())
    for da, db in sorted(product(range(-1, 2), repeat=2), key=lambda d: abs(d[0]) + abs(d[1])):
        first, second = round(slope[0] * 2**shift) + da, round(slope[1] * 2**shift) + db
        sums = first * a[:, None] + second * b
        least, most = _bounds(sums, codes, shift, low, high, axis=None)
        offset = int(np.clip((least + most) // 2, -_UNBOUNDED // 2, _UNBOUNDED // 2))
        if least <= offset <= most and (int(np.abs(sums).max()) + abs(offset)) >> shift < _LARGEST:
            return Line(first, second, offset, shift)
    return None


@dataclass(frozen=True)
class Steps:
    """code = how many of the rising thresholds first * a + second * b reaches, of codes counted from their lowest."""

    first: int
    second: int
    thresholds: tuple[int, ...]


def fit_steps(pair: PairSum) -> Steps | None:
    """Factors within 32 bits, and thresholds between the sums of pairs with different codes; of codes from 0 on."""
    codes = pair.codes()
    a, b = (np.arange(count, dtype=np.int64) for count in codes.shape)
    first, second = pair.first * _per(pair.a, a), pair.second * _per(pair.b, b)
    largest = abs(first) * a[-1] + abs(second) * b[-1]
    scale = min(1.0, _LARGEST / largest) if largest else 1.0
    sign = -1 if _falls(pair.epilogue) else 1
    first, second = sign * round(first * scale), sign * round(second * scale)
    sums = first * a[:, None] + second * b
    thresholds = []
    for code in range(1, pair.epilogue.code_range[1] + 1):
        reached = codes >= code
        least = int(sums[reached].min()) if reached.any() else _NEVER
        if not reached.all() and int(sums[~reached].max()) >= least:
            return None
        thresholds.append(least)
    return Steps(first, second, tuple(thresholds))


def _falls(epilogue: Epilogue) -> bool:
    return (epilogue.sign if isinstance(epilogue, Threshold) else epilogue.multiplier)[0] < 0


def line_shift(pairs: Sequence[PairSum]) -> int:
    """The most precise shift with which the factors of all channels fit 32 bits."""
    largest = max(max(map(abs, _code_slopes(pair))) for pair in pairs)
    return min(int(np.floor(np.log2(_LARGEST / largest))) if largest else _MOST_SHIFT, _MOST_SHIFT)


def _code_slopes(pair: PairSum) -> tuple[float, float]:
    """Output codes per code of either operand."""
    codes = pair.codes()
    a, b = (np.arange(count, dtype=np.int64) for count in codes.shape)
    return _slopes(pair, codes, a, b)


def _precisions(codes: np.ndarray) -> list[int]:
    """Shifts with which sums of codes stay within 30 bits, though they may saturate at three times their range."""
    bits = int(codes.max() - codes.min()).bit_length()
    finest = 27 - bits
    return [finest - 2 * n for n in range(_SHIFTS)]


def _slopes(pair: PairSum, codes: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Codes per unit of either operand, which `a` and `b` count; by least squares where the epilogue does not say."""
    if isinstance(pair.epilogue, Rescale):
        scale = pair.epilogue.multiplier[0] / 2.0 ** (pair.epilogue.shift[0] + pair.shift)
        return pair.first * scale * _per(pair.a, a), pair.second * scale * _per(pair.b, b)
    low, high = codes.min(), codes.max()
    inner = (codes > low) & (codes < high)
    if np.count_nonzero(inner) < 3:
        inner = np.ones_like(inner)
    rows, columns = np.nonzero(inner)
    matrix = np.column_stack([a[rows], b[columns], np.ones(len(rows))]).astype(np.float64)
    solution = np.linalg.lstsq(matrix, codes[inner].astype(np.float64), rcond=None)[0]
    return float(solution[0]), float(solution[1])


def _per(encoding: IntegerEncoding, counted: np.ndarray) -> float:
    """Integers per unit of what is counted."""
    integers = _integers(encoding)
    return float(integers[-1] - integers[0]) / float(counted[-1] - counted[0])


def _bounds(
    sums: np.ndarray, codes: np.ndarray, shift: int, low: int, high: int, axis: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """(least, largest) offset with which pairs get their codes; the extreme codes also result from clamping."""
    least = np.where(codes > low, (codes << shift) - sums, -_UNBOUNDED).max(axis=axis)
    most = np.where(codes < high, ((codes + 1) << shift) - sums - 1, _UNBOUNDED).min(axis=axis)
    return np.asarray(least), np.asarray(most)
