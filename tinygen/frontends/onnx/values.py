"""Representations of ONNX values while the file is read.

ONNX is channels first, the Graph channels last. A value therefore records the layout of its tensor's elements.
Transpositions and reshapes only change this record: most of them never become operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import numpy as np

from tinygen.frontends.aten import builder as aten
from tinygen.frontends.aten.layout import NHWC, NLC, Layout
from tinygen.frontends.folding import Chain, Reach
from tinygen.frontends.onnx.targets import Target
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.tensor import Shape, Tensor


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


@dataclass(frozen=True, eq=False)
class Coded:
    """A tensor of the Graph: codes, or floats.

    Attributes:
        layout: of its elements.
        raw: whether the ONNX value is the codes themselves, not the real values they represent.
        raw_shift: ONNX's code minus the tensor's (128 if uint8 became int8).
    """

    tensor: Tensor
    layout: Layout
    raw: bool = False
    raw_shift: int = 0

    @property
    def shape(self) -> Shape:
        return self.layout.shape

    def viewed(self, shape: Shape) -> Coded:
        """The same value without or with dimensions of size 1."""
        layout = self.layout.viewed(shape)
        assert layout is not None
        return replace(self, layout=layout)

    @property
    def placed(self) -> aten.Value:
        """For the builder of graphs."""
        return aten.Value(self.tensor.name, self.layout)


def from_order(tensor: Tensor, order: Sequence[int]) -> Coded:
    """A value whose tensor has ONNX's dimensions in the given order."""
    shape = tuple(tensor.shape[order.index(dim)] for dim in range(len(order)))
    return Coded(tensor, Layout.dense(shape, order))


def in_order(tensor: Tensor) -> Coded:
    """A value whose tensor has ONNX's shape and order of dimensions."""
    return Coded(tensor, Layout.dense(tensor.shape))


def from_image(tensor: Tensor, rank: int = 4) -> Coded:
    """A value of a tensor [N, H, W, C]: [N, C, H, W], or for rank 3 [N, C, L] of one row."""
    batch, height, width, channels = tensor.shape
    if rank == len(NHWC):
        return Coded(tensor, Layout.dense((batch, channels, height, width), NHWC))
    return Coded(tensor, Layout.dense((batch, channels, width), NLC))


def channel_dim(layout: Layout, channels: int) -> int | None:
    """The dimension that is the last one of a tensor whose last dimension has that size.

    None if a reshape has merged or split it, or there is one channel, which any dimension of size 1 may be.
    """
    last = len(layout.sizes) - 1
    return layout.dims.index((last,)) if layout.sizes[-1:] == (channels,) and (last,) in layout.dims else None


class Source(Protocol):
    """An operator on floats, which becomes an integer operator with the next quantizer.

    Attributes:
        SUMS: whether it is one of sums, which int32 holds exactly; its floats are then made of these.
    """

    SUMS: ClassVar[bool]

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
    """A float before its quantizer: a source, the chain applied to it, and postponed maxima.

    Attributes:
        layout: of the elements of the tensor that the source gives, pooled.
        in_float: gives the numbers themselves, computed in float; None if its operator has no such form.
    """

    source: Source
    chain: Chain
    layout: Layout
    pools: tuple[PendingPool, ...] = field(default=())
    in_float: Callable[[], Coded] | None = None

    @property
    def shape(self) -> Shape:
        return self.layout.shape

    def channel_dim(self) -> int | None:
        """ONNX's dimension that is the channels of the source, see `channel_dim`."""
        return channel_dim(self.layout, self.source.channels)


@dataclass(frozen=True, eq=False)
class GraphInput:
    """A model input before the first quantizer.

    Attributes:
        tensor_shape: in the Graph.
    """

    name: str
    dtype: np.dtype
    tensor_shape: Shape
    layout: Layout

    @property
    def shape(self) -> Shape:
        return self.layout.shape


Value = Constant | Coded | Pending | GraphInput
