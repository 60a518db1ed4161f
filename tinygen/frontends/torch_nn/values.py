"""What flows between modules while a quantized network is read.

A quantizer ends everything since the last multiply-accumulate: until it comes, the real values are a chain behind
accumulators (`Pending`); after it there are codes (`Coded`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen.frontends.folding import Chain, Reach
from tinygen.ir.ops.base import Op
from tinygen.ir.tensor import Shape, Tensor


@dataclass(frozen=True)
class Raw:
    """The model's input, real values NCHW (or [N, features]), before its quantizer.

    Attributes:
        shape: as the module sees it.
    """

    shape: Shape


@dataclass(frozen=True, eq=False)
class Coded:
    """Codes: a tensor of the graph, NHWC.

    Attributes:
        flat: the module has flattened it since; dense layers take their weights' columns in NHWC order.
    """

    tensor: Tensor
    flat: bool = False


@dataclass(frozen=True)
class Pool:
    """A maximum over windows between the accumulators and the quantizer.

    Attributes:
        rising: per channel, whether the values that it compares rise with the accumulators.
    """

    name: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    rising: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Pending:
    """Real values behind accumulators, which no quantizer has ended yet.

    Attributes:
        op: the operator's class and its fields, without name, outputs and epilogue.
        inputs: names of its inputs.
        shape: NHWC of the accumulators, or [N, O].
        chain: from an accumulator to the real value, per channel.
        reach: of the accumulators.
        pools: in order.
        flat: flattened since.
        where: the module that accumulates, for messages and names.
    """

    op: type[Op]
    fields: dict[str, Any]
    inputs: tuple[str, ...]
    shape: Shape
    chain: Chain
    reach: Reach
    where: str
    pools: tuple[Pool, ...] = field(default=())
    flat: bool = False

    def then(self, chain: Chain) -> Pending:
        return replace(self, chain=chain)

    def pooled(self, name: str, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Pending:
        """The maximum over windows: of accumulators where values rise with them, else their minimum."""
        rising = tuple(gain >= 0 for gain in self.chain.gain)
        return replace(self, pools=(*self.pools, Pool(name, kernel, stride, padding, rising)))


Value = Raw | Coded | Pending


class Steps:
    """A quantizer given by the real values at which its code rises; see `folding.Quantizer`.

    Args:
        boundaries: ascending; a value that equals one belongs to the upper code.
        low: the code below the first.
    """

    _EVEN = 1e-9
    """Distances that differ by less, relative to them, are the same but for rounding."""

    def __init__(self, boundaries: Sequence[float] | np.ndarray, low: int) -> None:
        self.boundaries = np.asarray(boundaries, np.float64)
        self._low = low

    @property
    def low(self) -> int:
        return self._low

    @property
    def high(self) -> int:
        return self._low + len(self.boundaries)

    @property
    def step(self) -> Fraction | None:
        """The distance of boundaries, where all have one."""
        if len(self.boundaries) < 2:
            return None
        distances = np.diff(self.boundaries)
        mean = (self.boundaries[-1] - self.boundaries[0]) / len(distances)
        even = bool(mean > 0 and np.all(np.abs(distances - mean) <= self._EVEN * mean))
        return Fraction(float(mean)) if even else None

    def points(self) -> list[tuple[Fraction, bool]]:
        return [(Fraction(float(b)), True) for b in self.boundaries]
