"""Sums and differences of int8 codes as one linear form, checked for every pair of codes."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add
from tinygen.ir.tensor import Tensor
from tinygen.lowering.plan import Constant

_CODES = np.arange(-128, 128, dtype=np.int64)
_LARGEST = 2**30


class LinearSum(NamedTuple):
    """code = saturate((s - away * (s < 0) + offset) >> shift), where s = first * a + second * b + centre.

    `away` is 1 where ties must go away from zero and a plain shift would not do so; else `centre` is 0. If no factor of
    b fits, `addends` has a value for each code of b, from -128: s = first * a + addends[b].
    """

    first: int
    second: int
    centre: int
    offset: int
    shift: int
    away: int
    low: int
    high: int
    addends: tuple[int, ...] = ()

    def context(self) -> dict[str, Any]:
        """Template values; the addends are a constant array."""
        return self._asdict() | {"addends": bool(self.addends)}

    def constants(self) -> tuple[Constant, ...]:
        if not self.addends:
            return ()
        return (Constant("addends", np.array(self.addends, np.int32), "by the other operand's code, from -128"),)


def fit_sum(node: Node) -> LinearSum | None:
    """The linear form of an int8 ADD or SUB; None when there is none (then the operator's own arithmetic is needed).

    The operator rounds each operand and the sum. All that matters is the code of each of the 65,536 pairs: with the
    factors given, each pair bounds the offset from both sides.
    """
    op = node.op
    assert isinstance(op, Add)
    a, b, y = node.input(0), node.input(1), node.output
    if not a.dtype == b.dtype == y.dtype == np.int8:
        return None
    bounds = quantized_activation_range(op.activation, y)
    scales = op.scales(node)
    key = (scales.left_shift, scales.first, scales.second, scales.output)
    return _fit(op, key, (a.scale, b.scale, y.scale), (a.zero_point, b.zero_point, y.zero_point), bounds)


@lru_cache(maxsize=256)
def _fit(
    op: Add,
    scales: tuple[object, ...],
    real: tuple[float, float, float],
    zeros: tuple[int, int, int],
    bounds: tuple[int, int],
) -> LinearSum | None:
    codes = _table(op, real, zeros, bounds)
    ratios = real[0] / real[2], op.SIGN * real[1] / real[2]
    shift = min(int(np.floor(np.log2(_LARGEST / 256 / max(map(abs, ratios))))), 24)
    if shift < 3:
        return None
    # With distant zero points sums are larger than the operands; slightly less precision is often enough.
    for fewer in range(3):
        found = _by_factors(codes, ratios, shift - fewer, zeros, bounds)
        found = found or _by_table(codes, ratios[0], shift - fewer, bounds)
        if found is not None:
            return found
    return None


def _by_factors(
    codes: np.ndarray, ratios: tuple[float, float], shift: int, zeros: tuple[int, int, int], bounds: tuple[int, int]
) -> LinearSum | None:
    for da, db in sorted(product(range(-2, 3), repeat=2), key=lambda d: abs(d[0]) + abs(d[1])):
        first, second = round(ratios[0] * 2**shift) + da, round(ratios[1] * 2**shift) + db
        for away in (0, 1):
            centre = -(first * zeros[0] + second * zeros[1]) if away else 0
            sums = first * _CODES[:, None] + second * _CODES[None, :] + centre
            least, most = _offsets(sums - away * (sums < 0), codes, shift, bounds, axis=None)
            offset = int(least + most) // 2
            if least <= most and abs(offset) + int(np.abs(sums).max()) < 2**31 - 1:
                return LinearSum(first, second, centre, offset, shift, away, *bounds)
    return None


def _by_table(codes: np.ndarray, ratio: float, shift: int, bounds: tuple[int, int]) -> LinearSum | None:
    for delta in sorted(range(-64, 65), key=abs):
        first = round(ratio * 2**shift) + delta
        least, most = _offsets(first * _CODES[:, None] + 0 * _CODES[None, :], codes, shift, bounds, axis=0)
        addends = (least + most) // 2
        if np.all(least <= most) and np.abs(addends).max() + abs(first) * 128 < 2**31 - 1:
            return LinearSum(first, 0, 0, 0, shift, 0, *bounds, addends=tuple(addends.tolist()))
    return None


def _table(
    op: Add, real: tuple[float, float, float], zeros: tuple[int, int, int], bounds: tuple[int, int]
) -> np.ndarray:
    """Codes of all pairs, [256, 256]."""
    tensors = [Tensor("", (256, 256), Affine("int8", (s,), (z,))) for s, z in zip(real, zeros, strict=True)]
    node = Node(op, tuple(tensors[:2]), (tensors[2],))
    pairs = np.broadcast_arrays(_CODES[:, None].astype(np.int8), _CODES[None, :].astype(np.int8))
    return op.evaluate(node, pairs)[0].astype(np.int64)


def _offsets(
    sums: np.ndarray, codes: np.ndarray, shift: int, bounds: tuple[int, int], axis: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """(least, most) offset with which pairs get their codes; what is clamped is bounded from one side only."""
    low, high = bounds
    least = np.where(codes > low, (codes << shift) - sums, -(2**31)).max(axis=axis)
    most = np.where(codes < high, ((codes + 1) << shift) - sums - 1, 2**31).min(axis=axis)
    return np.asarray(least), np.asarray(most)
