"""Any function of one 8-bit code, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.unary import Unary

CODES = 256


@dataclass(frozen=True, kw_only=True)
class Lookup(Unary):
    """Input and output: int8.

    Attributes:
        table: the output's code for each code of the input, from -128 on.
    """

    KIND: ClassVar[str] = "lookup"

    table: tuple[int, ...]

    def check(self, node: Node) -> None:
        super().check(node)
        node.require(not node.output.is_float, "it takes int8")
        fits = len(self.table) == CODES and -128 <= min(self.table) <= max(self.table) <= 127
        node.require(fits, f"a table of {len(self.table)} codes, not {CODES} of int8")

    def real_scales(self, node: Node) -> tuple[float, ...]:
        return ()

    def real(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError  # `check` refuses floats

    def integer(self, node: Node, codes: np.ndarray) -> np.ndarray:
        return np.array(self.table, np.int64)[codes + CODES // 2]
