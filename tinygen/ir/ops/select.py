"""SELECT and SELECT_V2: a condition chooses between two tensors, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import Plain
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Select(Op):
    """Inputs: bool, and two tensors of one type. Output: the first where the condition holds, else the second.

    All three are broadcast as NumPy does. Codes are copied: scales are not compared, as in LiteRT.
    """

    KIND: ClassVar[str] = "select"

    def infer_shapes(self, node: Node) -> list[Shape]:
        shapes = [node.input(index).shape for index in range(3)]
        try:
            return [np.broadcast_shapes(*shapes)]
        except ValueError as error:
            raise ModelError(f"its operands do not broadcast ({error})", where=node.describe()) from error

    def check(self, node: Node) -> None:
        condition, first, second = (node.input(index) for index in range(3))
        node.require(condition.encoding == Plain("bool"), f"its condition is {condition.encoding}, not bool")
        same = first.dtype == second.dtype == node.output.dtype
        node.require(same, "operands and output must have one type")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.where(values[0], values[1], values[2])]
