"""CONV_2D fused with the sum that reads its output; made by lowering only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.ops.base import Node, Stripe
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Conv2DAdd(Conv2D):
    """Inputs: those of Conv2D (bias may be ""), then the other operand, of the output's shape.

    Attributes:
        between: encoding of the convolution's own output, which is never stored whole.
        sum: the addition: TFLite's ADD, or one of integer codes.
    """

    KIND: ClassVar[str] = "conv_2d_add"

    between: IntegerEncoding
    sum: Add | IntegerAdd

    def convolution(self, node: Node) -> Node:
        """The convolution alone; its output is a tensor that the graph does not have."""
        alone = Conv2D(**{field.name: getattr(self, field.name) for field in fields(Conv2D)})
        output = Tensor(f"{self.name} before the sum", node.output.shape, self.between)
        return Node(alone, node.inputs[:3], (output,))

    def addition(self, node: Node) -> Node:
        """The addition alone."""
        return Node(self.sum, (self.convolution(node).output, node.input(3)), node.outputs)

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        cut = super().stripe(node, first, end)
        return cut and Stripe(cut.op, (*cut.inputs[:3], (first, end)))

    def check(self, node: Node) -> None:
        super().check(self.convolution(node))
        self.sum.check(self.addition(node))
        node.require(node.input(3).shape == node.output.shape, "the other operand has another shape")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = super().evaluate(self.convolution(node), values[:3])
        return self.sum.evaluate(self.addition(node), [codes[0], values[3]])
