"""Converters of TFLite operators, and their interface to an operator of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.tensor import Tensor

OPERATOR_NAMES: dict[int, str] = {
    value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)
}

_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: Activation.NONE,
    tflite.ActivationFunctionType.RELU: Activation.RELU,
    tflite.ActivationFunctionType.RELU6: Activation.RELU6,
    tflite.ActivationFunctionType.RELU_N1_TO_1: Activation.RELU_N1_TO_1,
}


# A flatbuffer table without fields: the offset back to its vtable, which holds only its own size and the table's.
_NO_FIELDS = bytes([4, 0, 4, 0, 4, 0, 0, 0])
_NO_FIELDS_START = 4


@dataclass(frozen=True)
class Declared:
    """Properties of a tensor in the file that a `Tensor` does not keep.

    Attributes:
        kind: its type, such as "int4" (whose codes become int8) or "resource".
        scale, zero_point: LiteRT's `params`: of the tensor as a whole, also of floats; 0 if it has none, or one per
            channel.
    """

    kind: str
    scale: np.float32
    zero_point: int


@dataclass(frozen=True)
class Operator:
    """One operator of the file, as a converter sees it.

    Attributes:
        name: unique name made for it ("conv_2d_3").
        code: of the builtin operator.
        inputs: tensors; None for an absent optional input.
        outputs: tensors.
        raw: the flatbuffer table.
        declared: further properties of each tensor of the subgraph, by name.
        subgraph: reads another subgraph of the file that the operator calls.
    """

    name: str
    code: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    raw: Any
    declared: Mapping[str, Declared]
    subgraph: Callable[[int], Graph]

    def kind(self, tensor: Tensor) -> str:
        """The type of a tensor in the file, such as "int8", "int4" or "resource"."""
        return self.declared[tensor.name].kind

    def common(self, *, keep_inputs: int | None = None) -> dict[str, Any]:
        """Keyword arguments every Op takes; `keep_inputs` drops parameters given as trailing tensors."""
        names = tuple(tensor.name if tensor else "" for tensor in self.inputs)
        return {
            "name": self.name,
            "inputs": names if keep_inputs is None else names[:keep_inputs],
            "outputs": tuple(tensor.name for tensor in self.outputs),
        }

    def options(self, table: Any) -> Any:
        """The builtin options, read as `table` (a class of the schema); all defaults when absent, as in LiteRT.

        Raises:
            ModelError: the options are of another operator.
        """
        options, result = self.raw.BuiltinOptions(), table()
        if options is None:
            result.Init(_NO_FIELDS, _NO_FIELDS_START)
            return result
        if self.raw.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, table.__name__):
            raise ModelError(f"its options are not {table.__name__}", where=self.describe())
        result.Init(options.Bytes, options.Pos)
        return result

    def constant(self, index: int, what: str) -> np.ndarray:
        """The codes of input `index`, which must be a constant.

        Raises:
            UnsupportedError: the input is computed at run time.
            ModelError: the input is missing.
        """
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise ModelError(f"its {what} (input {index}) is missing", where=self.describe())
        if tensor.data is None:
            raise UnsupportedError(
                f"its {what} ('{tensor.name}') is computed at run time",
                where=self.describe(),
                fix="tinygen resolves shapes before the C is written; export the model with static shapes.",
            )
        return tensor.data

    def activation(self, code: int) -> Activation:
        """A fused activation from its code in the schema."""
        if code not in _ACTIVATIONS:
            raise UnsupportedError(f"fused activation {code} is not supported", where=self.describe())
        return _ACTIVATIONS[code]

    def require(self, condition: bool, what: str) -> None:
        if not condition:
            raise UnsupportedError(what, where=self.describe())

    def describe(self) -> str:
        """`conv_2d_3 (int8 [1,8,8,4], ... -> int8 [1,8,8,8])`"""
        ins = ", ".join(tensor.describe() if tensor else "-" for tensor in self.inputs)
        outs = ", ".join(tensor.describe() for tensor in self.outputs)
        return f"{self.name} ({ins} -> {outs})"


Converter = Callable[[Operator], Op]
_CONVERTERS: dict[int, Converter] = {}


def converts(*codes: int) -> Callable[[Converter], Converter]:
    """Registers the decorated function as the converter of these builtin operator codes."""

    def register(function: Converter) -> Converter:
        for code in codes:
            assert code not in _CONVERTERS, OPERATOR_NAMES[code]
            _CONVERTERS[code] = function
        return function

    return register


def supported_operators() -> list[str]:
    """Names of the operators that have a converter, sorted."""
    return sorted(OPERATOR_NAMES[code] for code in _CONVERTERS)


def convert(code: int, custom: str, operator: Operator) -> Op:
    """Converts an operator of the file to an operator of the IR.

    Raises:
        UnsupportedError: there is no converter; the message lists those that exist.
    """
    if code not in _CONVERTERS:
        known = OPERATOR_NAMES.get(code, f"builtin operator {code}")
        raise UnsupportedError(
            f"operator {f'CUSTOM {custom!r}' if custom else known} is not supported",
            where=operator.describe(),
            fix="Supported operators: " + ", ".join(supported_operators()) + ".",
        )
    return _CONVERTERS[code](operator)
