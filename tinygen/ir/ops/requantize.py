"""An epilogue as an operator of its own: new codes for each element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Requantize(Op):
    """Input: codes [..., C]; output: the epilogue of their integers."""

    KIND: ClassVar[str] = "requantize"
    TAKES_BITS: ClassVar[bool] = True

    epilogue: Epilogue

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x = node.input(0)
        integer_mac.check_activations(node, x)
        integer_mac.check_epilogue(node, self.epilogue, x.shape[-1])
        largest = integer_mac.largest_integer(x.encoding)
        node.require(x.dtype == np.int32 or largest <= integer_mac.LARGEST, "integers do not fit 32 bits")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [integer_mac.finish(node, self.epilogue, node.input(0).integer.integers(values[0]))]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return Stripe(self, ((first, end),)) if len(node.input(0).shape) == 4 else None
