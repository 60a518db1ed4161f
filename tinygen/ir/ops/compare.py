"""COMPARE: codes against codes of the same encoding, or against one threshold. Gates of branches are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine, Float32, Levels, Plain
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


class Relation(StrEnum):
    """What holds between the first and the second input."""

    LESS = "less"
    LESS_EQUAL = "less_equal"
    GREATER = "greater"
    GREATER_EQUAL = "greater_equal"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"


_MEANINGS: Mapping[Relation, Callable[[np.ndarray, np.ndarray], np.ndarray]] = MappingProxyType(
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
    """Inputs: two of the same encoding, of the same shape, or the second of one element. Output: bool, int8 or int32
    (0 or 1), of the first's shape.

    Codes are compared, which compares real values: within one encoding the larger code stands for the larger value.
    A NaN is unlike everything, itself included, and neither less nor greater.
    """

    KIND: ClassVar[str] = "compare"

    relation: Relation

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def check(self, node: Node) -> None:
        first, second, output = node.input(0), node.input(1), node.output
        codes = isinstance(first.encoding, Affine | Levels | Plain) and not getattr(
            first.encoding, "per_channel", False
        )
        node.require(codes or isinstance(first.encoding, Float32), f"{first.encoding} is not supported")
        node.require(first.encoding == second.encoding, f"{first.encoding} cannot be compared with {second.encoding}")
        node.require(second.size == 1 or second.shape == first.shape, "the second input must have one element, or all")
        given = isinstance(output.encoding, Plain) and output.encoding.storage in ("bool", "int8", "int32")
        node.require(given, f"the output must be bool, int8 or int32, not {output.encoding}")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        second = values[1].reshape(()) if values[1].size == 1 else values[1]
        holds = _MEANINGS[self.relation](values[0], second)
        return [holds.astype(node.output.dtype).reshape(node.output.shape)]
