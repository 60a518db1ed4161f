"""Values between modules while a quantized network is read.

A quantizer ends everything since the last multiply-accumulate: before it, the real values are a chain over accumulators
(`Pending`); after it there are codes (`Coded`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen.frontends.folding import Chain, Reach
from tinygen.frontends.torch_nn.bends import Bend, rising
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
        flat: whether the module has flattened it; dense layers then take their weights' columns in NHWC order.
        step: real value of an integer of 1 if that is no float (1/49 of a scale, say); None for the encoding's scale.
        live: list of the present channels; None if all are present.
        zeros: if all are present, the counted list of the channels that are not zero; None if that is unknown.
    """

    tensor: Tensor
    flat: bool = False
    step: Fraction | None = None
    live: Tensor | None = None
    zeros: Tensor | None = None

    @property
    def gain(self) -> Fraction:
        """Real value of an integer of 1."""
        return Fraction(self.tensor.integer.scale[0]) if self.step is None else self.step

    def chain(self) -> Chain:
        """The chain from the integers to real values."""
        return linear((self.gain,) * self.tensor.shape[-1])

    def flattened(self) -> Coded:
        return replace(self, flat=self.flat or len(self.tensor.shape) == 4)

    def ends(self) -> tuple[int, int]:
        """Least and largest integer of the codes."""
        low, high = self.tensor.code_range
        integers = self.tensor.integer.integers(np.arange(low, high + 1).astype(self.tensor.dtype))
        return int(integers.min()), int(integers.max())

    def reach(self) -> Reach:
        low, high = self.ends()
        channels = self.tensor.shape[-1]
        return Reach(np.full(channels, low), np.full(channels, high))


def linear(gains: Sequence[Fraction], offsets: Sequence[Fraction] | None = None) -> Chain:
    """gain * accumulator + offset, not clamped; exact, since gains need not be floats."""
    none = np.full(len(gains), np.inf).tolist()
    zeros = (Fraction(0),) * len(gains)
    return Chain(tuple(gains), zeros if offsets is None else tuple(offsets), tuple(-v for v in none), tuple(none))


@dataclass(frozen=True)
class Pool:
    """A maximum over windows between the accumulators and the quantizer.

    Attributes:
        rising: per channel, whether the compared values rise with the accumulators.
    """

    name: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    rising: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Pending:
    """Real values as a chain over accumulators, before their quantizer.

    Attributes:
        op: the operator's class and its fields, without name, outputs and epilogue.
        inputs: names of its inputs.
        shape: NHWC of the accumulators, or [N, O]; before pools.
        chain: to the real value, per channel, from an accumulator or from the last bend.
        reach: of the accumulators.
        pools: in order.
        flat: whether the module has flattened them.
        where: the module that accumulates, for messages and names.
        bends: PReLUs between the accumulator and the chain.
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
    bends: tuple[Bend, ...] = field(default=())

    def then(self, chain: Chain) -> Pending:
        return replace(self, chain=chain)

    def flattened(self) -> Pending:
        return replace(self, flat=self.flat or len(self.shape) == 4)

    def bent(self, slopes: Sequence[Fraction]) -> Pending:
        """The values after a PReLU; slopes per channel, not negative."""
        bend = Bend(self.chain, tuple(slopes))
        return replace(self, bends=(*self.bends, bend), chain=Chain.start(self.chain.channels))

    def pooled(self, name: str, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Pending:
        """The maximum over windows: the maximum of accumulators if values rise with them, else the minimum."""
        pool = Pool(name, kernel, stride, padding, self.rising)
        return replace(self, pools=(*self.pools, pool))

    @property
    def rising(self) -> tuple[bool, ...]:
        """Per channel, whether the real value rises with the accumulator."""
        return rising(self.bends, self.chain)

    @property
    def plain(self) -> bool:
        """Whether the values are the accumulators times a positive number, one for all channels."""
        gain = self.chain.gain[0]
        return self.unclamped and all(g == gain > 0 for g in self.chain.gain) and not any(self.chain.offset)

    @property
    def unclamped(self) -> bool:
        """Whether the values are a line over the accumulators (constant ones, of a gain of 0, are)."""
        c = self.chain
        ends = zip(c.offset, c.low, c.high, strict=True)
        return not self.bends and all(low == -high == -math.inf or low == offset == high for offset, low, high in ends)


Value = Raw | Coded | Pending


class Steps:
    """A quantizer defined by the real values at which its code rises; see `folding.Quantizer`.

    Args:
        boundaries: ascending; a value that equals one belongs to the upper code.
        low: the code below the first.
    """

    _EVEN = 1e-9
    """Distances with a smaller relative difference count as equal: it is due to rounding."""

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
        """The distance of adjacent boundaries; None if distances differ."""
        if len(self.boundaries) < 2:
            return None
        distances = np.diff(self.boundaries)
        mean = (self.boundaries[-1] - self.boundaries[0]) / len(distances)
        even = bool(mean > 0 and np.all(np.abs(distances - mean) <= self._EVEN * mean))
        return Fraction(float(mean)) if even else None

    def points(self) -> list[tuple[Fraction, bool]]:
        return [(Fraction(float(b)), True) for b in self.boundaries]
