"""Converters of TFLite operators, and their interface to an operator of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import Binary, Plain
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.steps import Steps
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
_ACTIVATION_NAMES = {value: name for name, value in vars(tflite.ActivationFunctionType).items() if name.isupper()}


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
        open_shape: the file leaves its shape to the operator that writes it: the tensor has no rank, or a dimension of
            unknown size.
        sparse: the file stores some of its elements, and where they lie.
        is_variable: it keeps its codes from one invocation to the next.
    """

    kind: str
    scale: np.float32
    zero_point: int
    open_shape: bool = False
    sparse: bool = False
    is_variable: bool = False


@dataclass(frozen=True)
class Operator:
    """One operator of the file, as a converter sees it.

    Attributes:
        name: unique name made for it ("conv_2d_3").
        code: of the builtin operator.
        custom: code of a custom operator; "" for others.
        inputs: tensors; None for an absent optional input.
        outputs: tensors.
        raw: the flatbuffer table.
        declared: further properties of each tensor of the subgraph, by name.
        subgraph: reads another subgraph of the file that the operator calls.
    """

    name: str
    code: int
    custom: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    raw: Any
    declared: Mapping[str, Declared]
    subgraph: Callable[[int], Graph]

    def kind(self, tensor: Tensor) -> str:
        """The type of a tensor in the file, such as "int8", "int4" or "resource"."""
        return self.declared[tensor.name].kind

    def has_shape(self, tensor: Tensor, wanted: Sequence[int]) -> bool:
        """Whether a result of this shape fits a tensor of the file."""
        return tensor.shape == tuple(wanted) or self.declared[tensor.name].open_shape

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

    @property
    def of_shapes(self) -> bool:
        """Whether all operands are constants without a scale, integers or booleans."""
        return all(
            tensor is not None and tensor.is_constant and isinstance(tensor.encoding, Plain) for tensor in self.inputs
        )

    def activation(self, code: int) -> Activation:
        """A fused activation from its code in the schema."""
        if code not in _ACTIVATIONS:
            raise UnsupportedError(
                f"fused activation {_ACTIVATION_NAMES.get(code, code)} is not supported",
                where=self.describe(),
                fix="Let the activation be a layer of its own: RELU, RELU6 and RELU_N1_TO_1 may be fused.",
            )
        return _ACTIVATIONS[code]

    def require(self, condition: bool, what: str, fix: str = "") -> None:
        """Raises UnsupportedError(what), naming the operator and its shapes, unless `condition`."""
        if not condition:
            raise UnsupportedError(what, where=self.describe(), fix=fix)

    def describe(self) -> str:
        """`conv_2d_3 (int8 [1,8,8,4], ... -> int8 [1,8,8,8])`"""
        ins = ", ".join(tensor.describe() if tensor else "-" for tensor in self.inputs)
        outs = ", ".join(tensor.describe() for tensor in self.outputs)
        return f"{self.name} ({ins} -> {outs})"


Converter = Callable[[Operator], Op | Steps]
_CONVERTERS: dict[int, Converter] = {}
_FOLDERS: dict[int, Converter] = {}
_CUSTOM: dict[str, Converter] = {}
DECODER = "TFLM_DECODE"
"""The custom operator whose operands are bytes, whatever scales they have."""


def converts(*codes: int) -> Callable[[Converter], Converter]:
    """Registers the decorated function as the converter of these builtin operator codes."""

    def register(function: Converter) -> Converter:
        for code in codes:
            assert code not in _CONVERTERS, OPERATOR_NAMES[code]
            _CONVERTERS[code] = function
        return function

    return register


def folds(*codes: int) -> Callable[[Converter], Converter]:
    """Registers what these operators become where all their operands are constant integers or booleans without a scale.

    Sizes and conditions on them are of those types, and no board computes with them: no kernel is needed.
    """

    def register(function: Converter) -> Converter:
        _FOLDERS.update(dict.fromkeys(codes, function))
        return function

    return register


def converts_custom(code: str) -> Callable[[Converter], Converter]:
    """Registers the decorated function as the converter of a custom operator."""

    def register(function: Converter) -> Converter:
        assert code not in _CUSTOM, code
        _CUSTOM[code] = function
        return function

    return register


def supported_operators() -> list[str]:
    """Names of the builtin operators that have a converter, sorted."""
    return sorted(OPERATOR_NAMES[code] for code in _CONVERTERS)


def custom_operators() -> list[str]:
    """Codes of the custom operators that have a converter, sorted."""
    return sorted(_CUSTOM)


def has_converter(code: int, custom: str) -> bool:
    """Whether `convert` knows the operator, at least where it depends on constants alone."""
    return custom in _CUSTOM if code == tflite.BuiltinOperator.CUSTOM else code in _CONVERTERS or code in _FOLDERS


def convert(operator: Operator) -> Steps:
    """Converts an operator of the file, of which there is a converter, to operators of the IR.

    Raises:
        UnsupportedError: the converter is one for constants, and the operator has none.
    """
    if not operator.custom and any(
        tensor is not None and isinstance(tensor.encoding, Binary) for tensor in operator.inputs
    ):
        raise UnsupportedError(
            "reads words of bits as integers",
            where=operator.describe(),
            fix="Unpack them in front of it with LceDequantize: Larq's converter does that by itself.",
        )
    converter = _CUSTOM[operator.custom] if operator.custom else _CONVERTERS.get(operator.code)
    if operator.code in _FOLDERS and operator.of_shapes:
        converter = _FOLDERS[operator.code]
    if converter is None:
        raise UnsupportedError(
            f"operator {OPERATOR_NAMES[operator.code]} is supported on constants only, as it is used for shapes",
            where=operator.describe(),
            fix="Replace it in the source model by layers that convert to operators of docs/reference/operators.md.",
        )
    found = converter(operator)
    return found if isinstance(found, Steps) else Steps((found,))
