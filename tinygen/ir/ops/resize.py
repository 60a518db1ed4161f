"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR over NHWC.

Which elements an output row or column reads, and with which weights, depends on shapes only, so it is
computed once, here, and the C reads tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.ops.base import LATER, Node, Op
from tinygen.ir.tensor import Shape

FRACTION_BITS = 10
SIDE_LIMIT = 1 << 15
"""Rows and columns: their indices fit the 16-bit tables of the C."""
_ONE = 1 << FRACTION_BITS
_LOWEST = 128
"""What uint8 codes are more than those of int8."""


@dataclass(frozen=True, kw_only=True)
class Resize(Op):
    """Input: NHWC; the encoding stays."""

    TYPES: ClassVar[tuple[type, ...]]
    """Of integers; float32 is supported besides."""

    size: tuple[int, int]
    align_corners: bool
    half_pixel_centers: bool

    def infer_shapes(self, node: Node) -> list[Shape]:
        batch, _, _, channels = node.input(0).shape
        return [(batch, *self.size, channels)]

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(len(x.shape) == 4, "input must be NHWC")
        sides = (*x.shape[1:3], *self.size)
        node.require(min(sides) >= 1, f"output size {self.size}")
        node.require(max(sides) <= SIDE_LIMIT, f"an image side of {max(sides)} elements is more than {SIDE_LIMIT}")
        node.require(x.dtype == node.output.dtype, "input and output must have one type")
        node.require(x.is_float or x.dtype in self.TYPES, f"{x.dtype.name} is not supported")

    def float_scale(self, source: int, target: int) -> np.float32:
        """Input elements per output element."""
        if self.align_corners and target > 1:
            return np.float32(np.float32(source - 1) / np.float32(target - 1))
        return np.float32(np.float32(source) / np.float32(target))


@dataclass(frozen=True, kw_only=True)
class ResizeNearestNeighbor(Resize):
    """Every output element is a copy of an input element."""

    KIND: ClassVar[str] = "resize_nearest_neighbor"
    TYPES: ClassVar[tuple[type, ...]] = (np.int8, np.int16, np.int32, np.bool_)

    def indices(self, source: int, target: int) -> np.ndarray:
        """The input index of every output index of one axis."""
        offset = np.float32(0.5 if self.half_pixel_centers else 0.0)
        place = (np.arange(target, dtype=np.float32) + offset) * self.float_scale(source, target)
        whole = round_half_away(place) if self.align_corners else np.floor(place)
        return np.clip(whole.astype(np.int64), 0, source - 1)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        _, height, width, _ = node.input(0).shape
        rows, columns = self.indices(height, self.size[0]), self.indices(width, self.size[1])
        return [values[0][:, rows][:, :, columns]]


@dataclass(frozen=True, kw_only=True)
class ResizeBilinear(Resize):
    """Every output element is a mean of four; int8 and int16 with 10 fractional bits per axis.

    Attributes:
        unsigned: int8 codes are those of uint8 less 128, whose means LiteRT computes in single precision, halves
            upwards (resize_bilinear.h, `ResizeBilinear`).
    """

    KIND: ClassVar[str] = "resize_bilinear"
    TYPES: ClassVar[tuple[type, ...]] = (np.int8, np.int16)

    unsigned: bool = field(default=False, metadata=LATER, repr=False)

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(not self.unsigned or node.output.dtype == np.int8, "only int8 codes are those of uint8")
        node.require(not (self.align_corners and self.half_pixel_centers), "aligned corners with half-pixel centres")
        for source, target in zip(node.input(0).shape[1:3], self.size, strict=True):
            lower, _, _ = self.neighbours(source, target, self.in_float(node))
            # LiteRT's ratio has 10 fractional bits and is rounded up, so positions may pass the last pixel.
            inside = int(lower.max()) < source
            node.require(inside, f"resizing {source} to {target} would read beyond the input, as LiteRT does")

    def in_float(self, node: Node) -> bool:
        """Whether the weights are floats."""
        return node.output.is_float or self.unsigned

    def neighbours(self, source: int, target: int, real: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(lower index, upper index, weight of the upper) per output index of one axis.

        Weights are float32, or integers over 2**FRACTION_BITS.
        """
        if real:
            return self._real_neighbours(source, target)
        if self.align_corners and target > 1:
            scale = (_ONE * (source - 1) + (target - 1) // 2) // (target - 1)
        else:
            scale = (_ONE * source + target // 2) // target
        place = np.arange(target, dtype=np.int64) * scale
        if self.half_pixel_centers:
            place = place + scale // 2 - _ONE // 2
        # Divisions truncate towards zero, as C's do.
        lower = np.maximum(np.trunc(place / _ONE).astype(np.int64), 0)
        upper = np.minimum(np.trunc((place + _ONE - 1) / _ONE).astype(np.int64), source - 1)
        return lower, upper, place - lower * _ONE

    def _real_neighbours(self, source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scale = self.float_scale(source, target)
        place = np.arange(target, dtype=np.float32) * scale
        if self.half_pixel_centers:
            half = np.float32(0.5)
            place = (np.arange(target, dtype=np.float32) + half) * scale - half
        lower = np.maximum(np.floor(place).astype(np.int64), 0)
        upper = np.minimum(np.ceil(place).astype(np.int64), source - 1)
        return lower, upper, (place - lower.astype(np.float32)).astype(np.float32)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self.unsigned:
            return [self._unsigned_means(node, values[0])]
        _, height, width, _ = node.input(0).shape
        real = node.output.is_float
        top, bottom, down = self.neighbours(height, self.size[0], real)
        left, right, across = self.neighbours(width, self.size[1], real)
        x = values[0].astype(np.float64 if real else np.int64)
        one = 1.0 if real else _ONE
        down = down.reshape(1, -1, 1, 1).astype(x.dtype)
        across = across.reshape(1, 1, -1, 1).astype(x.dtype)
        mixed = (
            x[:, top][:, :, left] * (one - down) * (one - across)
            + x[:, top][:, :, right] * (one - down) * across
            + x[:, bottom][:, :, left] * down * (one - across)
            + x[:, bottom][:, :, right] * down * across
        )
        if real:
            return [mixed.astype(np.float32)]
        half = 1 << (2 * FRACTION_BITS - 1)
        rounded = mixed + np.where(mixed > 0, half, -half)
        return [(np.sign(rounded) * (np.abs(rounded) >> (2 * FRACTION_BITS))).astype(node.output.dtype)]

    def _unsigned_means(self, node: Node, codes: np.ndarray) -> np.ndarray:
        """int8 codes; every product and sum is rounded to single precision, in LiteRT's order."""
        _, height, width, _ = node.input(0).shape
        top, bottom, down = self.neighbours(height, self.size[0], real=True)
        left, right, across = self.neighbours(width, self.size[1], real=True)
        x, one = codes.astype(np.float32) + np.float32(_LOWEST), np.float32(1)
        below, after = down.reshape(1, -1, 1, 1), across.reshape(1, 1, -1, 1)
        mixed = x[:, top][:, :, left] * (one - below) * (one - after)
        mixed = mixed + x[:, bottom][:, :, left] * below * (one - after)
        mixed = mixed + x[:, top][:, :, right] * (one - below) * after
        mixed = mixed + x[:, bottom][:, :, right] * below * after
        return ((mixed + np.float32(0.5)).astype(np.int64) - _LOWEST).astype(np.int8)
