"""Loop nests over strided operands: broadcasting, slicing and transposing are all the same walk.

The output is written once, in order; each operand is read at base + sum of index * stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir.tensor import Shape


@dataclass(frozen=True)
class Nest:
    """Loops, outermost first.

    Attributes:
        extents: iterations of each loop.
        strides: per operand, elements to step in each loop.
        bases: per operand, the element it starts at.
    """

    extents: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    bases: tuple[int, ...]

    def context(self, counter: str = "i") -> dict[str, Any]:
        """Template values: `extents`, and the C expression of each operand's index, in counters i0, i1, ..."""
        return {
            "extents": list(self.extents),
            "indices": [
                _expression(base, strides, counter) for base, strides in zip(self.bases, self.strides, strict=True)
            ],
            "inner": [list(strides)[-1] if strides else 0 for strides in self.strides],
        }


def row_major(shape: Shape) -> tuple[int, ...]:
    """Strides in elements of a dense array."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def broadcast_strides(shape: Shape, rank: int) -> tuple[int, ...]:
    """Strides of an operand broadcast to `rank` dimensions: 0 along dimensions of size 1."""
    dense = row_major(shape)
    own = tuple(0 if size == 1 else stride for size, stride in zip(shape, dense, strict=True))
    return (0,) * (rank - len(shape)) + own


def make_nest(extents: Sequence[int], strides: Sequence[Sequence[int]], bases: Sequence[int]) -> Nest:
    """Drops loops of one iteration and merges neighbours that every operand walks as one."""
    kept: list[tuple[int, list[int]]] = []
    for position, extent in enumerate(extents):
        own = [operand[position] for operand in strides]
        if extent == 1:
            continue
        if kept and all(outer == extent * inner for outer, inner in zip(kept[-1][1], own, strict=True)):
            kept[-1] = (kept[-1][0] * extent, own)
        else:
            kept.append((extent, own))
    if not kept:
        kept = [(1, [0] * len(strides))]
    return Nest(
        tuple(extent for extent, _ in kept),
        tuple(tuple(own[i] for _, own in kept) for i in range(len(strides))),
        tuple(bases),
    )


def _expression(base: int, strides: Sequence[int], counter: str) -> str:
    """`3 + i0 * 12 - i1 * 2`"""
    text = str(base) if base else ""
    for depth, stride in enumerate(strides):
        if stride == 0:
            continue
        term = f"{counter}{depth}" if abs(stride) == 1 else f"{counter}{depth} * {abs(stride)}"
        if not text:
            text = term if stride > 0 else f"-{term}"
        else:
            text += f" + {term}" if stride > 0 else f" - {term}"
    return text or "0"
