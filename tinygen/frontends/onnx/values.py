"""Representations of ONNX values while the file is read.

ONNX is channels first, the Graph channels last. A value therefore records the order of its tensor's dimensions.
Transpositions and reshapes only change this record: most of them never become operators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from tinygen.frontends.folding import Chain, Reach
from tinygen.frontends.onnx.targets import Target
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.tensor import Shape, Tensor

CHANNELS_LAST = (0, 2, 3, 1)
"""Of what ONNX calls NCHW."""


def identity(rank: int) -> tuple[int, ...]:
    return tuple(range(rank))


@dataclass(frozen=True, eq=False)
class ConstantCodes:
    """Constants that the file gives as integers, or quantizes itself.

    Attributes:
        codes: as in the file, in ONNX's order of dimensions.
        encoding: of the codes; its axis counts ONNX's dimensions.
    """

    codes: np.ndarray
    encoding: IntegerEncoding

    def transposed(self, order: tuple[int, ...]) -> ConstantCodes:
        axis = self.encoding.axis
        moved = None if axis is None else order.index(axis)
        return ConstantCodes(self.codes.transpose(order), replace(self.encoding, axis=moved))


@dataclass(frozen=True, eq=False)
class Constant:
    """A value known when the file is read.

    Attributes:
        array: its elements as ONNX sees them.
        codes: of a quantized constant: real values are scale * integers(codes); None for others.
    """

    array: np.ndarray
    codes: ConstantCodes | None = None

    @property
    def shape(self) -> Shape:
        return self.array.shape


@dataclass(frozen=True)
class View:
    """How ONNX sees a tensor.

    Attributes:
        tensor_shape: of the tensor.
        order: dimension i of the tensor is dimension order[i] of ONNX's, before any reshape.
        shape: ONNX's shape now: the ordered dimensions reshaped, the last index fastest.
    """

    tensor_shape: Shape
    order: tuple[int, ...]
    shape: Shape

    @staticmethod
    def of(tensor_shape: Shape, order: tuple[int, ...]) -> View:
        return View(tensor_shape, order, tuple(tensor_shape[order.index(i)] for i in range(len(order))))

    @property
    def ordered(self) -> Shape:
        """ONNX's shape before any reshape."""
        return tuple(self.tensor_shape[self.order.index(i)] for i in range(len(self.order)))

    @property
    def is_reshaped(self) -> bool:
        return self.shape != self.ordered

    @property
    def is_in_order(self) -> bool:
        """Whether the tensor's elements have ONNX's order; dimensions of size 1 do not matter."""
        wide = [axis for axis in self.order if self.ordered[axis] != 1]
        return wide == sorted(wide)

    def reshaped(self, shape: Shape) -> View:
        return replace(self, shape=shape)

    def transposed(self, permutation: tuple[int, ...]) -> View | None:
        """The view after a transposition; None if the tensor must be put in ONNX's order first."""
        if self.is_reshaped and not self.is_in_order:
            return None
        start = View.of(self.shape, identity(len(self.shape))) if self.is_reshaped else self
        order = tuple(permutation.index(axis) for axis in start.order)
        return View.of(start.tensor_shape, order)

    def channel_axis(self) -> int | None:
        """ONNX's dimension that is the tensor's last one; None if a reshape merged or split it."""
        if not self.is_reshaped:
            return self.order[-1]
        channels = self.tensor_shape[-1]
        if math.prod(self.tensor_shape) != channels or channels not in self.shape:
            return None
        return self.shape.index(channels)


@dataclass(frozen=True, eq=False)
class Coded:
    """A tensor of the Graph.

    Attributes:
        raw: whether the ONNX value is the codes themselves, not the real values they represent.
        raw_shift: ONNX's code minus the tensor's (128 if uint8 became int8).
    """

    tensor: Tensor
    view: View
    raw: bool = False
    raw_shift: int = 0

    @property
    def shape(self) -> Shape:
        return self.view.shape


class Source(Protocol):
    """An operator on floats, which becomes an integer operator with the next quantizer."""

    @property
    def channels(self) -> int:
        """Number of channels of its output."""

    def reach(self) -> Reach:
        """Range of the accumulators that the chain starts from, per channel.

        Raises:
            UnsupportedError: the source gives floats.
        """

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        """Its output after chain and quantizer."""

    def real(self, chain: Chain) -> Tensor:
        """Its output as int32, if no quantizer follows."""


@dataclass(frozen=True)
class PendingPool:
    """A maximum over windows, postponed until after the quantizer: codes are compared instead of floats.

    Attributes:
        window: `Window` of the pool (ONNX's attributes, resolved).
        rising: per channel, whether the chain rose with the accumulator up to here.
    """

    window: object
    rising: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Pending:
    """A float before its quantizer: a source, the chain applied to it, and postponed maxima."""

    source: Source
    chain: Chain
    view: View
    pools: tuple[PendingPool, ...] = field(default=())

    @property
    def shape(self) -> Shape:
        return self.view.shape


@dataclass(frozen=True, eq=False)
class GraphInput:
    """A model input before the first quantizer; `view` holds its order."""

    name: str
    dtype: np.dtype
    view: View

    @property
    def shape(self) -> Shape:
        return self.view.shape


Value = Constant | Coded | Pending | GraphInput
