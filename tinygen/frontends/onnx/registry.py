"""Converters of ONNX operators, and their interface to a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.onnx.branches import ReadBranch
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.values import Coded, Constant, Value
from tinygen.ir.tensor import Tensor

QONNX_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Under which QONNX's and Brevitas's quantizers are found."""
STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Operator:
    """One node of the file.

    Attributes:
        builder: collects the converted operators.
        name: of the node, or of its first output if the node has none.
        domain, kind: "" and "Conv".
        inputs: values, None where an optional input is absent.
        input_names, output_names: in the file.
        attributes: decoded, text as str.
        clamp: bounds of a Clip that is the only reader of the output; None if there is none.
        read_branches: reads subgraphs of the operator; returns the tensors of the outer graph that they read, in the
            order of their inputs, and the subgraphs.
    """

    builder: Builder
    name: str
    domain: str
    kind: str
    inputs: tuple[Value | None, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    attributes: Mapping[str, Any]
    read_branches: Callable[[Sequence[Any]], tuple[list[Tensor], list[ReadBranch]]]
    clamp: tuple[float, float] | None = None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default.

        Raises:
            ModelError: the attribute is absent and has no default.
        """
        value = self.attributes.get(name, default)
        if value is None:
            raise ModelError(f"its attribute '{name}' is missing", where=self.describe())
        return value

    def integers_of(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """A list attribute."""
        return tuple(int(v) for v in self.attributes.get(name, default))

    def label(self, index: int) -> str:
        """`input 1 ('conv.weight')`"""
        name = self.input_names[index] if index < len(self.input_names) else ""
        return f"input {index} ('{name}')"

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """A required input."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ModelError(f"its {self.label(index)} is missing", where=self.describe())
        return value

    def constant(self, index: int, what: str) -> Constant:
        """An input that must be a constant.

        Raises:
            UnsupportedError: the input is computed at run time.
        """
        value = self.value(index)
        if not isinstance(value, Constant):
            raise UnsupportedError(
                f"its {what}, {self.label(index)}, is computed at run time",
                where=self.describe(),
                fix="Export the model with constant parameters and static shapes.",
            )
        return value

    def array(self, index: int, what: str) -> np.ndarray:
        return self.constant(index, what).array

    def scalar(self, index: int, what: str) -> float:
        """The one element of a constant input."""
        array = self.array(index, what)
        self.require(array.size == 1, f"its {what}, {self.label(index)}, has {array.size} elements, not one")
        return float(array.reshape(-1)[0])

    def coded(self, index: int) -> Coded:
        """An input of real values whose codes are known.

        Raises:
            UnsupportedError: the input is a float without a quantizer.
        """
        value = self.value(index)
        if isinstance(value, Coded) and not value.raw:
            return value
        raise self.unquantized(index)

    def unquantized(self, index: int) -> UnsupportedError:
        value = self.inputs[index]
        what = "holds integers without a scale" if isinstance(value, Coded) else "is a float that nothing quantizes"
        if isinstance(value, Constant):
            what = "is a constant"
        return UnsupportedError(
            f"its {self.label(index)} {what}",
            where=self.describe(),
            fix="Quantize inputs and weights of every layer: static QDQ quantization, or QONNX quantizers.",
        )

    def require(self, condition: bool, what: str, fix: str = "") -> None:
        if not condition:
            raise UnsupportedError(what, where=self.describe(), fix=fix)

    def damaged(self, condition: bool, what: str) -> None:
        """Raises ModelError(what) where the condition holds."""
        if condition:
            raise ModelError(what, where=self.describe())

    def axis(self, axis: int, rank: int) -> int:
        self.damaged(not -rank <= axis < rank, f"axis {axis} of {rank} dimensions")
        return axis % rank

    def describe(self) -> str:
        """`Conv 'conv1' (x [1,3,32,32], w [8,3,3,3] -> y)`"""
        pairs = zip(self.input_names, self.inputs, strict=True)
        ins = ", ".join(f"{name} [{','.join(map(str, value.shape))}]" for name, value in pairs if value is not None)
        return f"{self.kind} '{self.name}' ({ins} -> {', '.join(self.output_names)})"


Result = Value | list[Value]
Converter = Callable[[Operator], Result]
_CONVERTERS: dict[tuple[str, str], Converter] = {}


def converts(*kinds: str, domains: Sequence[str] = STANDARD) -> Callable[[Converter], Converter]:
    """Registers the decorated function as the converter of these operators."""

    def register(function: Converter) -> Converter:
        for domain in domains:
            for kind in kinds:
                assert (domain, kind) not in _CONVERTERS, kind
                _CONVERTERS[domain, kind] = function
        return function

    return register


def supported_operators() -> list[str]:
    """Names of the operators that have a converter, sorted."""
    return sorted({kind for _, kind in _CONVERTERS})


def convert(operator: Operator) -> list[Value]:
    """The node's outputs.

    Raises:
        UnsupportedError: there is no converter; the message lists those that exist.
    """
    converter = _CONVERTERS.get((operator.domain, operator.kind))
    if converter is None:
        domain = f" of domain '{operator.domain}'" if operator.domain not in STANDARD else ""
        raise UnsupportedError(
            f"operator {operator.kind}{domain} is not supported",
            where=operator.describe(),
            fix="Supported operators: " + ", ".join(supported_operators()) + ".",
        )
    result = converter(operator)
    return result if isinstance(result, list) else [result]
