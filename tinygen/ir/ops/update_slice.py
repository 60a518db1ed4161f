"""DYNAMIC_UPDATE_SLICE: a block of a tensor is written over, at a place that is data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class UpdateSlice(Op):
    """Inputs: a tensor of any type, a block of as many dimensions, and where it begins: int32 or int64, one index per
    dimension. An index that would put the block over an edge is moved to the nearest that does not, as in XLA.
    """

    KIND: ClassVar[str] = "update_slice"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        x, block, start = (node.input(index) for index in range(3))
        node.require(x.dtype == block.dtype == node.output.dtype, "operands and output must have one type")
        node.require(start.dtype in (np.int32, np.int64), f"the place must be int32 or int64, not {start.encoding}")
        fits = len(x.shape) == len(block.shape) and start.shape == (len(x.shape),)
        if not fits or any(small > large for small, large in zip(block.shape, x.shape, strict=True)):
            raise ModelError(f"a block {list(block.shape)} does not fit {list(x.shape)}", where=node.describe())

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        output, block = values[0].copy(), values[1]
        room = np.array(output.shape, np.int64) - np.array(block.shape, np.int64)
        first = np.clip(values[2].astype(np.int64), 0, room)
        output[tuple(slice(at, at + size) for at, size in zip(first, block.shape, strict=True))] = block
        return [output]
