"""Reads the flatbuffer: tensors, constants, operators. Trusts nothing in the file."""

from __future__ import annotations

import importlib
import math
import pkgutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.names import c_name
from tinygen.frontends.tflite import operators
from tinygen.frontends.tflite.registry import OPERATOR_NAMES, Operator, convert
from tinygen.frontends.tflite.variables import VARIABLE_OPERATORS, Variables
from tinygen.ir.encodings import Affine, Encoding, Float32, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.tensor import Tensor

for _module in pkgutil.iter_modules(operators.__path__):
    importlib.import_module(f"{operators.__name__}.{_module.name}")

_TYPES = {
    tflite.TensorType.FLOAT32: "float32",
    tflite.TensorType.INT8: "int8",
    tflite.TensorType.INT4: "int8",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.INT16: "int16",
    tflite.TensorType.INT32: "int32",
    tflite.TensorType.INT64: "int64",
    tflite.TensorType.BOOL: "bool",
    # The number of a variable; no graph has operators on it.
    tflite.TensorType.RESOURCE: "int32",
}
_TYPE_NAMES = {value: name for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}

_INT4_RANGE = (-8, 7)

# What the flatbuffer accessors raise when offsets point outside the file or at the wrong thing.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, KeyError, AttributeError, MemoryError)


def load_tflite(path: Path, name: str | None = None) -> Graph:
    """Reads a .tflite file.

    Args:
        path: the file.
        name: C identifier for the model; by default made from the file's name.

    Raises:
        ModelError: the file cannot be read or is damaged.
        UnsupportedError: it uses an operator, type or shape tinygen lacks.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return read_tflite(content, name or c_name(path.stem), str(path))


def read_tflite(content: bytes, name: str = "model", where: str = "model") -> Graph:
    """The same from bytes; `where` names the file in errors."""
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise ModelError("is not a TensorFlow Lite model (no TFL3 mark)", where=where)
    try:
        graph = _Reader(content, name).graph()
        graph.validate()
    except TinygenError as error:
        error.where = f"{where}: {error.where}" if error.where else where
        raise
    except _DAMAGE as error:
        raise ModelError(
            f"is damaged: its tables point outside the file or disagree ({error})",
            where=where,
            fix="Check that the file was copied whole, and that other tools can open it.",
        ) from error
    return graph


def _unpacked(content: bytes, count: int) -> np.ndarray:
    """`count` int8 codes in [-8, 7] from INT4 data: two per byte, the low nibble first."""
    pairs = np.frombuffer(content, np.int8)
    # Shifted left and back again, a nibble is sign-extended.
    return np.stack([np.left_shift(pairs, 4) >> 4, pairs >> 4], axis=-1).reshape(-1)[:count]


class _Reader:
    def __init__(self, content: bytes, name: str) -> None:
        self.size = len(content)
        self.name = name
        self.model = tflite.Model.GetRootAs(content, 0)
        if self._count(self.model.SubgraphsLength()) < 1:
            raise ModelError("has no subgraph")
        self.subgraph = self.model.Subgraphs(0)

    def _count(self, length: int) -> int:
        """A vector's length; no vector can have more entries than the file has bytes."""
        if not 0 <= length <= self.size:
            raise ModelError(f"is damaged: a table claims {length} entries in a file of {self.size} bytes")
        return length

    def graph(self) -> Graph:
        graph = self.subgraph
        tensors = self._tensors(graph)
        variables = Variables(self._other_subgraph)
        # What stands for each tensor of the file: what a variable is read to may be what was assigned to it.
        now = list(tensors)
        ops = []
        for index in range(self._count(graph.OperatorsLength())):
            code, custom, operator = self._operator(graph, index, now)
            if code not in VARIABLE_OPERATORS:
                ops.append(self._converted(code, custom, operator))
                continue
            value = variables.meet(code, operator)
            if value is not None:
                now = [value if tensor is operator.outputs[0] else tensor for tensor in now]
        return Graph(
            name=self.name,
            tensors={tensor.name: tensor for tensor in tensors},
            ops=tuple(ops),
            inputs=tuple(now[i].name for i in self._indices(graph.InputsAsNumpy(), len(now))),
            outputs=tuple(now[i].name for i in self._indices(graph.OutputsAsNumpy(), len(now))),
            states=variables.states(),
        )

    def _other_subgraph(self, index: int) -> list[tuple[int, Operator]]:
        """Its operators with their codes."""
        if not 0 < index < self._count(self.model.SubgraphsLength()):
            raise ModelError(f"is damaged: there is no subgraph {index} to call")
        subgraph = self.model.Subgraphs(index)
        tensors = self._tensors(subgraph)
        count = self._count(subgraph.OperatorsLength())
        found = [self._operator(subgraph, number, tensors) for number in range(count)]
        return [(code, operator) for code, _, operator in found]

    def _indices(self, vector: Any, limit: int) -> list[int]:
        indices = [] if isinstance(vector, int) else [int(i) for i in vector]
        for index in indices:
            if not 0 <= index < limit:
                raise ModelError(f"is damaged: tensor index {index} of {limit}")
        return indices

    def _tensors(self, subgraph: Any) -> list[Tensor]:
        count = self._count(subgraph.TensorsLength())
        names: set[str] = set()
        tensors = []
        for index in range(count):
            raw = subgraph.Tensors(index)
            name = (raw.Name() or b"").decode("utf-8", "replace") or f"tensor_{index}"
            if name in names:
                name = f"{name}#{index}"
            names.add(name)
            tensors.append(self._tensor(raw, name))
        return tensors

    def _tensor(self, raw: Any, name: str) -> Tensor:
        if raw.Type() not in _TYPES:
            kind = _TYPE_NAMES.get(raw.Type(), str(raw.Type()))
            raise UnsupportedError(f"tensors of type {kind} are not supported", where=f"tensor '{name}'")
        if raw.Sparsity() is not None:
            raise UnsupportedError("sparse tensors are not supported", where=f"tensor '{name}'")
        shape = tuple(int(raw.Shape(i)) for i in range(self._count(raw.ShapeLength())))
        if any(dim <= 0 for dim in shape) or math.prod(shape) > 2**31:
            raise UnsupportedError(
                f"shape {list(shape)} is not static and positive", where=f"tensor '{name}'",
                fix="Export the model with a fixed batch size of 1.",
            )  # fmt: skip
        encoding = self._encoding(raw, name, shape)
        data = self._data(raw, name, shape, encoding.dtype)
        if raw.Type() == tflite.TensorType.INT4 and data is None:
            raise UnsupportedError(
                "4-bit tensors must be constants, this one is computed at run time", where=f"tensor '{name}'",
                fix="Keep 4 bits for weights, and quantize activations to int8.",
            )  # fmt: skip
        return Tensor(name, shape, encoding, data)

    def _encoding(self, raw: Any, name: str, shape: tuple[int, ...]) -> Encoding:
        storage = _TYPES[raw.Type()]
        if storage == "float32":
            return Float32()
        quantization = raw.Quantization()
        if quantization is None or quantization.ScaleLength() == 0:
            return Plain(storage)
        scales = tuple(float(quantization.Scale(i)) for i in range(self._count(quantization.ScaleLength())))
        zeros = tuple(int(quantization.ZeroPoint(i)) for i in range(self._count(quantization.ZeroPointLength())))
        where = f"tensor '{name}'"
        if not all(math.isfinite(scale) and scale > 0 for scale in scales):
            raise ModelError("has a scale that is not a positive number", where=where)
        zeros = zeros or (0,)
        if len(zeros) == 1:
            zeros *= len(scales)
        if len(zeros) != len(scales):
            raise ModelError(f"has {len(scales)} scales and {len(zeros)} zero points", where=where)
        kind, limits = _TYPE_NAMES[raw.Type()].lower(), np.iinfo(storage)
        low, high = _INT4_RANGE if raw.Type() == tflite.TensorType.INT4 else (limits.min, limits.max)
        if not all(low <= zero <= high for zero in zeros):
            raise ModelError(f"has a zero point outside {kind}", where=where)
        if len(scales) == 1:
            return Affine(storage, scales, zeros)
        axis = int(quantization.QuantizedDimension())
        if not 0 <= axis < len(shape) or shape[axis] != len(scales):
            raise ModelError(f"has {len(scales)} scales along axis {axis} of shape {list(shape)}", where=where)
        return Affine(storage, scales, zeros, axis)

    def _data(self, raw: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
        index = raw.Buffer()
        if index >= self._count(self.model.BuffersLength()):
            raise ModelError(f"has no buffer {index}", where=f"tensor '{name}'")
        buffer = self.model.Buffers(index)
        if raw.IsVariable():
            raise UnsupportedError("variable tensors are not supported", where=f"tensor '{name}'")
        if self._count(buffer.DataLength()) == 0:
            return None
        content = np.asarray(buffer.DataAsNumpy()).tobytes()
        packed = raw.Type() == tflite.TensorType.INT4
        expected = (math.prod(shape) + 1) // 2 if packed else math.prod(shape) * dtype.itemsize
        if len(content) != expected:
            raise ModelError(f"has {len(content)} bytes of data, its shape needs {expected}", where=f"tensor '{name}'")
        if packed:
            return _unpacked(content, math.prod(shape)).reshape(shape)
        return np.frombuffer(content, dtype).reshape(shape)

    def _operator(self, subgraph: Any, index: int, tensors: list[Tensor]) -> tuple[int, str, Operator]:
        """Code, custom code and operands of an operator."""
        raw = subgraph.Operators(index)
        code_index = raw.OpcodeIndex()
        if code_index >= self._count(self.model.OperatorCodesLength()):
            raise ModelError(f"is damaged: operator {index} has no code {code_index}")
        entry = self.model.OperatorCodes(code_index)
        # Old writers fill only the 8-bit field, new ones both: the schema's rule is the larger.
        code = max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
        custom = (entry.CustomCode() or b"").decode("utf-8", "replace")
        label = OPERATOR_NAMES.get(code, f"op{code}").lower()
        operator = Operator(
            name=f"{label}_{index}",
            inputs=tuple(self._operand(raw.Inputs(i), tensors) for i in range(self._count(raw.InputsLength()))),
            outputs=tuple(
                tensors[i] for i in self._indices(
                    [raw.Outputs(j) for j in range(self._count(raw.OutputsLength()))], len(tensors))
            ),
            raw=raw,
        )  # fmt: skip
        return code, custom, operator

    def _converted(self, code: int, custom: str, operator: Operator) -> Op:
        try:
            return convert(code, custom, operator)
        except TinygenError:
            raise
        except _DAMAGE as error:
            raise ModelError(f"its options or operands are damaged ({error})", where=operator.describe()) from error

    def _operand(self, index: int, tensors: list[Tensor]) -> Tensor | None:
        if index == -1:
            return None
        return tensors[self._indices([index], len(tensors))[0]]
