"""Several operators in place of one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.encodings import Encoding, Plain
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True)
class Steps:
    """What takes an operator's place.

    Attributes:
        ops: in order; none where the outputs are constants.
        tensors: those between the operators, constants that they read, and outputs that are constants.
        states: what the operators keep from one invocation to the next.
    """

    ops: tuple[Op, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    states: tuple[State, ...] = ()


class Building:
    """Operators that take another's place, in order.

    Args:
        name: of the other. The last operator has its name, names of what is in front begin with it.
        outputs: of the other.
        taken: names of tensors that others have.
    """

    def __init__(self, name: str, outputs: Sequence[Tensor], taken: Collection[str]) -> None:
        self._name, self._outputs, self._taken = name, outputs, taken
        self._ops: list[Op] = []
        self._tensors: list[Tensor] = []

    def constant(self, label: str, data: np.ndarray, encoding: Encoding | None = None) -> Tensor:
        """A constant that operators read: integers or booleans that stand for themselves where no encoding is given."""
        self._tensors.append(Tensor(self._unused(label), data.shape, encoding or Plain(data.dtype.name), data))
        return self._tensors[-1]

    def step(self, kind: type[Op], *inputs: Tensor, encoding: Encoding | None = None, **fields: Any) -> Tensor:
        """The result of an operator in between; it has the first input's encoding where none is given."""
        tensor = Tensor(self._unused(str(len(self._ops))), (), encoding or inputs[0].encoding)
        op = kind(name=tensor.name, inputs=_names(inputs), outputs=(tensor.name,), **fields)
        [shape] = Node(op, inputs, (tensor,)).shapes()
        return self.place(op, replace(tensor, shape=shape))

    def place(self, op: Op, output: Tensor) -> Tensor:
        """The result of an operator in between that is given as it is."""
        self._ops.append(op)
        self._tensors.append(output)
        return output

    def last(self, kind: type[Op], *inputs: Tensor, **fields: Any) -> Steps:
        """All operators; this one writes the outputs."""
        final = kind(name=self._name, inputs=_names(inputs), outputs=_names(self._outputs), **fields)
        return Steps((*self._ops, final), tuple(self._tensors))

    def _unused(self, label: str) -> str:
        name = f"{self._name}_{label}"
        while name in self._taken:
            name += "'"
        return name


def _names(tensors: Sequence[Tensor | None]) -> tuple[str, ...]:
    return tuple("" if tensor is None else tensor.name for tensor in tensors)
