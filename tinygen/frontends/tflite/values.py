"""The tensors of a subgraph while its operators are read in order: which have become constants, and their shapes.

What depends on constants alone is computed at once, by the operators' exact meaning: a converter behind it sees a
constant. A tensor whose shape the file leaves open gets the shape that its operator gives it, as in LiteRT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import overload

from tinygen.frontends.tflite.registry import Declared
from tinygen.frontends.tflite.tensors import check_shape
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.steps import Steps
from tinygen.ir.tensor import Tensor
from tinygen.passes.fold_constants import folded


class Values(Sequence[Tensor]):
    """The tensors by their indices in the file.

    Args:
        tensors: as the file declares them, in order.
        declared: their further properties, by name.
        kept: names of tensors that stay results of their operators.
    """

    def __init__(self, tensors: Sequence[Tensor], declared: Mapping[str, Declared], kept: Set[str]) -> None:
        self._names = [tensor.name for tensor in tensors]
        self._known = {tensor.name: tensor for tensor in tensors}
        self._declared, self._kept = declared, kept

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...

    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return [self._known[name] for name in self._names[index]]
        return self._known[self._names[index]]

    def __len__(self) -> int:
        return len(self._names)

    def become(self, tensor: Tensor, value: Tensor) -> None:
        """From now on, `value` is read where the file reads `tensor`."""
        self._names = [value.name if name == tensor.name else name for name in self._names]

    def named(self, name: str) -> Tensor:
        """A tensor as it is known now."""
        return self._known[name]

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Adds tensors that the file does not have, or what its tensors have become."""
        self._known |= {tensor.name: tensor for tensor in tensors}

    def take(self, steps: Steps) -> Iterator[Op]:
        """The operators that remain to be computed at run time."""
        self.add(steps.tensors)
        for op in steps.ops:
            node = self._settled(op)
            found = None if self._kept & set(op.outputs) else self._folded(node)
            if found is None:
                yield op
            else:
                self.add(found)

    def tensors(self) -> dict[str, Tensor]:
        """By name: those of the file in their order, then those that converters added."""
        return dict(self._known)

    def _settled(self, op: Op) -> Node:
        """The operator with its tensors; outputs have their final shapes."""
        inputs = tuple(self._known[name] if name else None for name in op.inputs)
        node = Node(op, inputs, tuple(self._known[name] for name in op.outputs))
        if not any(map(self._is_open, op.outputs)):
            return node
        for tensor, shape in zip(node.outputs, node.shapes(), strict=True):
            if self._is_open(tensor.name):
                check_shape(shape, tensor.name)
                self._known[tensor.name] = replace(tensor, shape=shape)
        return replace(node, outputs=tuple(self._known[name] for name in op.outputs))

    def _is_open(self, name: str) -> bool:
        return name in self._declared and self._declared[name].open_shape

    def _folded(self, node: Node) -> list[Tensor] | None:
        if not node.inputs or not all(tensor is None or tensor.is_constant for tensor in node.inputs):
            return None
        node.check()
        node.check_outputs()
        return folded(node)
