"""Resource variables: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE.

In a file, variables change at the ASSIGN_VARIABLE; a `Graph` reads states at the beginning of an inference and changes
them at the end. So a read gives the tensor assigned last, and only a read before any assignment gives a state's tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tflite

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tflite.registry import Operator
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor

Met = tuple[int, Operator]
"""An operator of a subgraph, behind its code."""

_HANDLE = tflite.BuiltinOperator.VAR_HANDLE
_READ = tflite.BuiltinOperator.READ_VARIABLE
_ASSIGN = tflite.BuiltinOperator.ASSIGN_VARIABLE
_ONCE = tflite.BuiltinOperator.CALL_ONCE
VARIABLE_OPERATORS = (_HANDLE, _READ, _ASSIGN, _ONCE)


@dataclass
class _Variable:
    """The state of a variable while operators are read.

    Attributes:
        initial: its initial constant.
        state: the tensor of the first read before any assignment.
        value: the tensor that a read now gives; None before the first read or assignment.
    """

    name: str
    initial: Tensor | None = None
    state: Tensor | None = None
    value: Tensor | None = None


class Variables:
    """The variables of a model, while its operators are read in order.

    Args:
        subgraph: returns the operators of another subgraph, for CALL_ONCE.
    """

    def __init__(self, subgraph: Callable[[int], Sequence[Met]]) -> None:
        self._subgraph = subgraph
        self._variables: dict[tuple[bytes, bytes], _Variable] = {}
        self._handles: dict[str, _Variable] = {}

    def meet(self, code: int, operator: Operator) -> Tensor | None:
        """Handles one of `VARIABLE_OPERATORS`; a read returns the tensor that replaces its output.

        Raises:
            ModelError, UnsupportedError: no state can represent this use of the variable.
        """
        if code == _ONCE:
            self._call_once(operator)
        elif code == _HANDLE:
            self._handles[operator.outputs[0].name] = self._declared(operator)
        elif code == _ASSIGN:
            self._variable(operator).value = _operand(operator, 1)
        else:
            return self._read(operator)
        return None

    def states(self) -> tuple[State, ...]:
        """States of the variables that are read before they are assigned.

        Raises:
            UnsupportedError: a variable is assigned a constant, or a tensor of another type, shape or quantization.
        """
        return tuple(
            State(variable.state.name, self._update(variable, variable.state), _data(variable.initial))
            for variable in self._variables.values()
            if variable.state is not None
        )

    def _update(self, variable: _Variable, state: Tensor) -> str:
        assert variable.value is not None
        if variable.value.is_constant:
            raise UnsupportedError(
                "takes a constant outside of CALL_ONCE",
                where=variable.name,
                fix="Assign the constant in the subgraph of a CALL_ONCE in front, or leave the variable out.",
            )
        _require_same(variable, state, variable.value, "assigned")
        return variable.value.name

    def _declared(self, operator: Operator) -> _Variable:
        options = operator.options(tflite.VarHandleOptions)
        key = (options.Container() or b"", options.SharedName() or b"")
        name = b"/".join(part for part in key if part).decode("utf-8", "replace")
        return self._variables.setdefault(key, _Variable(f"variable '{name}'"))

    def _variable(self, operator: Operator) -> _Variable:
        handle = _operand(operator, 0)
        if handle.name not in self._handles:
            raise ModelError(f"'{handle.name}' is no variable's handle", where=operator.name)
        return self._handles[handle.name]

    def _read(self, operator: Operator) -> Tensor:
        variable, output = self._variable(operator), operator.outputs[0]
        if variable.value is None:
            if variable.initial is None:
                raise UnsupportedError(
                    "is read before anything is assigned to it",
                    where=variable.name,
                    fix="Give it an initial value: a constant, assigned in the subgraph of a CALL_ONCE in front.",
                )
            _require_same(variable, output, variable.initial, "initialised")
            variable.state = variable.value = output
        _require_same(variable, output, variable.value, "assigned")
        return variable.value

    def _call_once(self, operator: Operator) -> None:
        if any(variable.value is not None for variable in self._variables.values()):
            raise UnsupportedError(
                "comes after operators that use variables", where=operator.name, fix="Initialise variables first."
            )
        once = Variables(self._subgraph)
        for code, inner in self._subgraph(operator.options(tflite.CallOnceOptions).InitSubgraphIndex()):
            # Other operators have no lasting effect.
            if code not in (_HANDLE, _ASSIGN):
                raise UnsupportedError(
                    f"does more than assign constants to variables ({inner.name})",
                    where=operator.name,
                    fix="Initialise variables with constants, as tf.Variable(tf.zeros(...)) is.",
                )
            once.meet(code, inner)
        for key, found in once._variables.items():
            if found.value is None:
                continue
            if not found.value.is_constant:
                raise UnsupportedError(
                    f"begins with '{found.value.name}', which is no constant",
                    where=found.name,
                    fix="Initialise variables with constants, as tf.Variable(tf.zeros(...)) is.",
                )
            self._variables.setdefault(key, _Variable(found.name)).initial = found.value


def _operand(operator: Operator, index: int) -> Tensor:
    tensor = operator.inputs[index]
    if tensor is None:
        raise ModelError(f"has no operand {index}", where=operator.name)
    return tensor


def _data(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None and tensor.data is not None
    return tensor.data


def _require_same(variable: _Variable, read: Tensor, other: Tensor, how: str) -> None:
    if (read.shape, read.encoding) != (other.shape, other.encoding):
        raise UnsupportedError(
            f"is read as {read.describe()} of {read.encoding}, and {how} as {other.describe()} of {other.encoding}",
            where=variable.name,
            fix="Give it one type, shape and quantization.",
        )
