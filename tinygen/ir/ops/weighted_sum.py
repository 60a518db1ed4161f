"""A sum of tensors with computed weights: experts' outputs, weighted by their router."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class WeightedSum(Op):
    """Inputs: weights [..., k] of int8, then k tensors of one shape [..., C] and one 8-bit encoding.

    sum = sum over j of integers(weights)[j] * integers(tensor j); output: its epilogue.
    """

    KIND: ClassVar[str] = "weighted_sum"

    epilogue: Epilogue | None = None

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(1).shape]

    def check(self, node: Node) -> None:
        weights, tensors = node.input(0), [node.input(i) for i in range(1, len(node.inputs))]
        for tensor in (weights, *tensors):
            integer_mac.check_activations(node, tensor)
            node.require(tensor.dtype.itemsize == 1, f"'{tensor.name}' is {tensor.dtype.name}, not of bytes")
        node.require(weights.dtype == np.int8, f"its weights are {weights.dtype.name}, not int8")
        count = len(tensors)
        node.require(count > 0 and weights.size == count, f"{weights.size} weights for {count} tensors")
        same = {(tensor.shape, tensor.encoding) for tensor in tensors}
        node.require(len(same) == 1, "its tensors must have one shape and one encoding")
        integer_mac.check_epilogue(node, self.epilogue, tensors[0].shape[-1])
        largest = integer_mac.largest_integer(weights.encoding) * integer_mac.largest_integer(tensors[0].encoding)
        node.require(largest * count <= integer_mac.LARGEST, "sums may not fit 32 bits")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        weights = node.input(0).integer.integers(values[0]).reshape(-1)
        integers = [node.input(i).integer.integers(values[i]) for i in range(1, len(values))]
        total = sum(weight * tensor for weight, tensor in zip(weights, integers, strict=True))
        return [integer_mac.finish(node, self.epilogue, np.asarray(total))]

    def macs(self, node: Node) -> int:
        return node.output.size * (len(node.inputs) - 1)
