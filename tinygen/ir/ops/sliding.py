"""Shared by convolutions and by pools: where windows lie, and how a stripe of rows is cut out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.ops.window import Axis, Padding, axis, window_rows


@dataclass(frozen=True, kw_only=True)
class Sliding(Op):
    """A window over activations NHWC, input 0."""

    padding: Padding
    stride: tuple[int, int]
    row_padding: tuple[int, int] | None = None
    """Rows of padding (above, below) instead of what `padding` says: of a stripe, or taken over from a PAD."""
    column_padding: tuple[int, int] | None = None
    """The same of columns (left, right)."""

    @abstractmethod
    def geometry(self, node: Node) -> tuple[Axis, Axis]:
        """(rows, columns) of the window."""

    def _axes(self, node: Node, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[Axis, Axis]:
        _, height, width, _ = node.input(0).shape
        return (
            axis(height, kernel[0], self.stride[0], dilation[0], self.padding, self.row_padding),
            axis(width, kernel[1], self.stride[1], dilation[1], self.padding, self.column_padding),
        )

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        read, padding = window_rows(self.geometry(node)[0], first, end)
        return Stripe(replace(self, row_padding=padding), (read, *[None] * (len(self.inputs) - 1)))


@dataclass(frozen=True, kw_only=True)
class Convolution(Sliding):
    """The window is that of the weights, input 1: [.., KH, KW, ..]."""

    dilation: tuple[int, int] = (1, 1)

    def geometry(self, node: Node) -> tuple[Axis, Axis]:
        _, kernel_h, kernel_w, _ = node.input(1).shape
        return self._axes(node, (kernel_h, kernel_w), self.dilation)
