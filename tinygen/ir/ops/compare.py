"""COMPARE: codes against codes of the same encoding, or against one threshold. Gates of branches use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine, Float32, Levels, Plain
from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinygen.ir.ops.base import LATER, Node, Op
from tinygen.ir.tensor import Shape, Tensor

LEFT_SHIFT = 8
"""Bits that TFLite adds to codes before it scales them."""


class Relation(StrEnum):
    """The relation tested between the first and the second input."""

    LESS = "less"
    LESS_EQUAL = "less_equal"
    GREATER = "greater"
    GREATER_EQUAL = "greater_equal"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"


_MEANINGS: Mapping[Relation, Callable[[np.ndarray | int, np.ndarray | int], np.ndarray]] = MappingProxyType(
    {
        Relation.LESS: np.less,
        Relation.LESS_EQUAL: np.less_equal,
        Relation.GREATER: np.greater,
        Relation.GREATER_EQUAL: np.greater_equal,
        Relation.EQUAL: np.equal,
        Relation.NOT_EQUAL: np.not_equal,
    }
)


@dataclass(frozen=True, kw_only=True)
class Compare(Op):
    """Inputs: two of the same encoding, broadcast as NumPy does; a second of one element may have any shape. Output:
    bool, int8 or int32 (0 or 1).

    Codes are compared, which compares real values: within one encoding the larger code stands for the larger value.
    A NaN is unequal to everything, itself included, and neither less nor greater.

    Attributes:
        scaled: compare as TFLite does: 2^8 (code - zero_point) of each operand, times its own scale, which is below 1,
            in fixed point, rounded. Encodings, of 8 or 16 bits, may differ. Codes closer than 2^-8 then count as equal.
    """

    KIND: ClassVar[str] = "compare"

    relation: Relation
    scaled: bool = field(default=False, metadata=LATER)

    def infer_shapes(self, node: Node) -> list[Shape]:
        first, second = node.input(0).shape, node.input(1).shape
        if node.input(1).size == 1 and len(second) > len(first):
            return [first]
        try:
            return [np.broadcast_shapes(first, second)]
        except ValueError as error:
            raise ModelError(f"its operands do not broadcast ({error})", where=node.describe()) from error

    def check(self, node: Node) -> None:
        first, second, output = node.input(0), node.input(1), node.output
        codes = isinstance(first.encoding, Affine | Levels | Plain) and not getattr(
            first.encoding, "per_channel", False
        )
        node.require(codes or isinstance(first.encoding, Float32), f"{first.encoding} is not supported")
        if self.scaled:
            for tensor in (first, second):
                short = isinstance(tensor.encoding, Affine) and tensor.dtype in (np.int8, np.uint8, np.int16)
                fits = short and 0 < tensor.scale < 1 and tensor.dtype == first.dtype
                node.require(fits, f"'{tensor.name}' is {tensor.encoding}, not of 8 or 16 bits with a scale below 1")
        same = self.scaled or first.encoding == second.encoding
        node.require(same, f"{first.encoding} cannot be compared with {second.encoding}")
        given = isinstance(output.encoding, Plain) and output.encoding.storage in ("bool", "int8", "int32")
        node.require(given, f"the output must be bool, int8 or int32, not {output.encoding}")

    def holds(self, first: np.ndarray | int, second: np.ndarray | int) -> np.ndarray:
        """Whether the relation holds between unscaled codes; bool, broadcast as in NumPy."""
        return np.asarray(_MEANINGS[self.relation](first, second))

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        first, second = values
        if self.scaled:
            first, second = (_scaled(node.input(i), values[i]) for i in (0, 1))
        second = second.reshape(()) if second.size == 1 else second
        holds = self.holds(first, second)
        return [holds.astype(node.output.dtype).reshape(node.output.shape)]


def _scaled(tensor: Tensor, codes: np.ndarray) -> np.ndarray:
    centred = codes.astype(np.int64) - tensor.zero_point
    return multiply_by_quantized_multiplier(centred << LEFT_SHIFT, *quantize_multiplier(tensor.scale))
