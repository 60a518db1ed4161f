"""CONCATENATION and PACK: inputs side by side along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import WORD_BITS, Affine, Binary, Float32, Plain
from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Concatenation(Op):
    """Inputs: any number of tensors of one encoding, equal but for `axis`."""

    KIND: ClassVar[str] = "concatenation"
    TAKES_BITS: ClassVar[bool] = True

    axis: int

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        # Along columns or channels: parts stay side by side within a row.
        return Stripe(self, ((first, end),) * len(self.inputs)) if self.axis in (2, 3) else None

    def infer_shapes(self, node: Node) -> list[Shape]:
        shapes = [node.input(i).shape for i in range(len(node.inputs))]
        rests = {shape[: self.axis] + shape[self.axis + 1 :] for shape in shapes}
        if not shapes or len(rests) != 1 or len({len(shape) for shape in shapes}) != 1:
            raise ModelError("its inputs do not fit side by side", where=node.describe())
        total = sum(shape[self.axis] for shape in shapes)
        return [(*shapes[0][: self.axis], total, *shapes[0][self.axis + 1 :])]

    def check(self, node: Node) -> None:
        output = node.output
        for index in range(len(node.inputs)):
            tensor = node.input(index)
            node.require(tensor.dtype == output.dtype, "inputs and output must have one type")
            if isinstance(tensor.encoding, Affine) and isinstance(output.encoding, Affine):
                same = (tensor.encoding.scale, tensor.encoding.zero_point) == (
                    output.encoding.scale,
                    output.encoding.zero_point,
                )
                node.require(same, f"input {index} has another scale or zero point than the output")
            elif not isinstance(tensor.encoding, Affine | Float32 | Plain):
                node.require(tensor.encoding == output.encoding, f"input {index} has another encoding than the output")
        if isinstance(output.encoding, Binary):
            self._check_packed(node)

    def _check_packed(self, node: Node) -> None:
        """Packed channels lie side by side only where each part fills its words."""
        last = self.axis == len(node.output.shape) - 1
        whole = all(node.input(index).shape[-1] % WORD_BITS == 0 for index in range(len(node.inputs)))
        node.require(not last or whole, f"packed channels are joined only in multiples of {WORD_BITS}")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate(values, axis=self.axis)]


@dataclass(frozen=True, kw_only=True)
class Pack(Concatenation):
    """Inputs of one shape and encoding, stacked along a new axis."""

    KIND: ClassVar[str] = "pack"
    TAKES_BITS: ClassVar[bool] = False

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return None

    def infer_shapes(self, node: Node) -> list[Shape]:
        shapes = {node.input(i).shape for i in range(len(node.inputs))}
        if len(shapes) != 1:
            raise ModelError("its inputs differ in shape", where=node.describe())
        shape = shapes.pop()
        return [(*shape[: self.axis], len(node.inputs), *shape[self.axis :])]

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.stack(values, axis=self.axis)]
