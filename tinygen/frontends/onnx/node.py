"""A node of the file, as its converter sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.onnx.branches import ReadBranch
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.values import Coded, Constant, GraphInput, Value
from tinygen.ir.encodings import Plain
from tinygen.ir.tensor import Tensor

QONNX_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Under which QONNX's and Brevitas's quantizers are found."""
QUANTIZERS = ("QuantizeLinear", "Quant", "IntQuant", "BipolarQuant", "Trunc")
STANDARD = ("", "ai.onnx")
MICROSOFT = ("com.microsoft",)
"""Operators of ONNX Runtime."""


class NotQuantizedError(UnsupportedError):
    """An operand has no codes, so that the operator computes in float."""


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
        reference: see `evaluate`.
        opset: version of ONNX's own operators.
        clamp: bounds of a Clip that is the only reader of the output; None if there is none.
        taken: indices of the outputs that are read.
        sole_reader: whether nothing else reads its first input.
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
    reference: Callable[[Operator, Mapping[int, np.ndarray]], np.ndarray]
    opset: int = 0
    clamp: tuple[float, float] | None = None
    sole_reader: bool = False
    taken: frozenset[int] = frozenset()

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
        if isinstance(value, Coded) and not value.raw and not value.tensor.is_float:
            return value
        raise self.unquantized(index)

    def real(self, index: int) -> Coded:
        """An input that is computed at run time, as a float tensor.

        Raises:
            UnsupportedError: the input is a constant, or integers.
        """
        value = self.value(index)
        if isinstance(value, Coded) and value.tensor.is_float:
            return value
        what = "is a constant" if isinstance(value, Constant) else "holds integers"
        raise UnsupportedError(
            f"its {self.label(index)} {what}",
            where=self.describe(),
            fix="This operator computes floats of the model's inputs.",
        )

    def number(self, index: int) -> Coded:
        """An input that is computed at run time, as a tensor of floats, or of integers that stand for themselves."""
        value = self.value(index)
        whole = isinstance(value, Coded) and isinstance(value.tensor.encoding, Plain)
        return value if isinstance(value, Coded) and whole else self.real(index)

    def unquantized(self, index: int) -> NotQuantizedError:
        value = self.inputs[index]
        integers = (isinstance(value, Coded) and value.raw) or (
            isinstance(value, GraphInput) and value.dtype.kind != "f"
        )
        what = "holds integers without a scale" if integers else "is a float that nothing quantizes"
        if isinstance(value, Constant):
            what = "is a constant"
        return NotQuantizedError(
            f"its {self.label(index)} {what}",
            where=self.describe(),
            fix="Quantize inputs and weights of every layer: static QDQ quantization, or QONNX quantizers.",
        )

    def evaluate(self, arrays: Mapping[int, np.ndarray]) -> np.ndarray:
        """The first output by ONNX's reference implementation, for arrays by the indices of inputs."""
        return self.reference(self, arrays)

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

    @property
    def title(self) -> str:
        """`Conv 'conv1'`"""
        return f"{self.kind} '{self.name}'"

    @property
    def computed(self) -> list[str]:
        """Names of the inputs that are computed at run time."""
        pairs = zip(self.input_names, self.inputs, strict=True)
        return [name for name, value in pairs if value is not None and not isinstance(value, Constant)]

    def describe(self) -> str:
        """`Conv 'conv1' (x [1,3,32,32], w [8,3,3,3] -> y)`"""
        pairs = zip(self.input_names, self.inputs, strict=True)
        ins = ", ".join(f"{name} [{','.join(map(str, value.shape))}]" for name, value in pairs if value is not None)
        return f"{self.title} ({ins} -> {', '.join(self.output_names)})"
