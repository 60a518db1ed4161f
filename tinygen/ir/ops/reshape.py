"""RESHAPE, SQUEEZE, EXPAND_DIMS: the same codes under another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import WORD_BITS, Binary
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Reshape(Op):
    """Input: any tensor. `shape` is the output's, fully known."""

    KIND: ClassVar[str] = "reshape"
    TAKES_BITS: ClassVar[bool] = True

    shape: Shape

    def infer_shapes(self, node: Node) -> list[Shape]:
        if int(np.prod(self.shape)) != node.input(0).size:
            raise ModelError(f"cannot reshape {node.input(0).size} elements to {list(self.shape)}", where=self.name)
        return [self.shape]

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(x.dtype == node.output.dtype, "input and output must have one type")
        if isinstance(x.encoding, Binary):
            whole = x.shape[-1] % WORD_BITS == 0 == self.shape[-1] % WORD_BITS
            node.require(x.shape[-1] == self.shape[-1] or whole, "packed channels do not lie one behind the other")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [values[0].reshape(self.shape)]
