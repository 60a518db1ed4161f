"""Reads an ONNX file: constants, inputs, nodes in order. Trusts nothing in the file."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.aten import operators as aten_operators
from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.onnx import floats, operators
from tinygen.frontends.onnx.branches import ReadBranch, free_names
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.constants import evaluate_node, fold_node
from tinygen.frontends.onnx.input_order import input_order, is_reordered
from tinygen.frontends.onnx.node import QUANTIZERS, Operator
from tinygen.frontends.onnx.outputs import settle
from tinygen.frontends.onnx.registry import convert
from tinygen.frontends.onnx.steps import real_of
from tinygen.frontends.onnx.values import Coded, Constant, GraphInput, Value
from tinygen.ir.branch import MOST_NESTED
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.tensor import Shape, Tensor

for _package in (aten_operators, operators, floats):
    for _module in pkgutil.iter_modules(_package.__path__):
        importlib.import_module(f"{_package.__name__}.{_module.name}")

MOST_ELEMENTS = 2**31

DAMAGE = (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, RuntimeError, MemoryError)
"""Exceptions of the parser and NumPy on inconsistent fields."""


class Reader:
    """Reads one graph of a file.

    Attributes:
        notes: what a user should know of the graph that was read.
        inputs, outputs: how each is stored.

    Args:
        file: ONNX's graph.
        depth: of nesting in operators' subgraphs; 0 for the model's graph.
    """

    def __init__(self, onnx: Any, file: Any, opset: int, name: str, depth: int = 0) -> None:
        self.onnx, self.file, self.opset, self.name, self.depth = onnx, file, opset, name, depth
        self.builder = Builder()
        self.values: dict[str, Value] = {}
        self.readers = Counter(name for node in file.node for name in node.input)
        self.readers.update(entry.name for entry in file.output)
        parts = [part for node in file.node for part in node.attribute if part.type == onnx.AttributeProto.GRAPH]
        self.in_branches = [name for part in parts for name in free_names(onnx, part.g)]
        self.readers.update(self.in_branches)
        self.notes: list[str] = []
        self.inputs: dict[str, Layout] = {}
        self.outputs: tuple[Layout, ...] = ()

    def graph(self) -> Graph:
        if not self.file.node:
            raise ModelError("has no operators")
        self._initializers()
        # Files of IR version 3 list initializers among the inputs.
        inputs = [entry for entry in self.file.input if entry.name not in self.values]
        for entry in inputs:
            self.values[entry.name] = self._input(entry)
            if not self._is_quantized_alike(entry.name):
                self.values[entry.name] = real_of(self.builder, self.values[entry.name])
        for index, node in enumerate(self.file.node):
            self._node(index, node)
        outputs = [self._settled(entry.name) for entry in self.file.output]
        self.outputs = tuple(value.layout for value in outputs)
        for entry in inputs:
            if entry.name not in self.builder.inputs:
                raise UnsupportedError(
                    "no output depends on it",
                    where=f"input '{entry.name}'",
                    fix="Remove it: onnx.utils.extract_model(source, target, inputs, outputs) with the others alone.",
                )
        names = [value.tensor.name for value in outputs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UnsupportedError("is given twice", where=f"output '{twice}'", fix="Remove one of the outputs.")
        return self.builder.graph(self.name, [entry.name for entry in inputs], names)

    def _settled(self, name: str) -> Coded:
        return settle(self.builder, name, self._known(name), reordered=is_reordered(self.file, name))

    def _is_quantized_alike(self, name: str) -> bool:
        """Whether nothing, one operator, or several with the same parameters read an input, which may be codes then."""
        reading = {(node.op_type, *node.input[1:]) for node in self.file.node if name in node.input}
        reading |= {("If",)} if name in self.in_branches else set()
        return len(reading) < 2 or not any(kind in QUANTIZERS for kind, *_ in reading)

    def _initializers(self) -> None:
        for tensor in self.file.initializer:
            self.values[tensor.name] = self._constant(tensor)
        if len(self.file.sparse_initializer):
            raise UnsupportedError("sparse initializers are not supported", fix="Store the weights densely.")

    def _branches(self, files: Sequence[Any]) -> tuple[list[Tensor], list[ReadBranch]]:
        """Reads an operator's subgraphs: (tensors of this graph that they read, in input order; the subgraphs)."""
        if self.depth == MOST_NESTED:
            raise UnsupportedError(f"there are more than {MOST_NESTED} branches within each other")
        captured: dict[str, Coded] = {}
        constants: dict[str, Value] = {}
        for name in dict.fromkeys(name for file in files for name in free_names(self.onnx, file)):
            value = self.values.get(name)
            if value is None:
                raise ModelError(f"a branch reads '{name}', which no earlier operator writes")
            if isinstance(value, Constant):
                constants[name] = value
            else:
                captured[name] = self._captured(name, value)
        branches = [self._branch(file, captured, constants) for file in files]
        return [value.tensor for value in captured.values()], branches

    def _captured(self, name: str, value: Value) -> Coded:
        if isinstance(value, GraphInput) and value.dtype == np.bool_:
            return Coded(self.builder.encode_input(value, Plain("bool")), value.layout, raw=True)
        if not isinstance(value, Coded):
            value = real_of(self.builder, value)
        if not isinstance(value, Coded):
            raise UnsupportedError(
                f"a branch reads '{name}', a float that nothing quantizes",
                fix="Quantize what branches read, in front of the operator that chooses.",
            )
        return value

    def _branch(self, file: Any, captured: Mapping[str, Coded], constants: Mapping[str, Value]) -> ReadBranch:
        if len(file.input):
            raise ModelError(f"a branch has the input '{file.input[0].name}', and is given none")
        inner = Reader(self.onnx, file, self.opset, self.name, self.depth + 1)
        inner.values |= constants
        for name, value in captured.items():
            inner.values[name] = replace(value, tensor=inner.builder.capture(name, self.builder, value.tensor))
        inner._initializers()
        for index, node in enumerate(file.node):
            inner._node(index, node)
        outputs = tuple(inner._known(entry.name) for entry in file.output)
        return ReadBranch(self.name, inner.builder, tuple(captured), outputs)

    def _known(self, name: str) -> Value:
        if name not in self.values:
            raise ModelError("is an output that no operator writes", where=f"'{name}'")
        return self.values[name]

    def _constant(self, tensor: Any) -> Constant:
        try:
            array = self.onnx.numpy_helper.to_array(tensor)
        except DAMAGE as error:
            raise ModelError(f"its data cannot be read ({error})", where=f"initializer '{tensor.name}'") from error
        return Constant(array)

    def _input(self, entry: Any) -> GraphInput:
        where, kind = f"input '{entry.name}'", entry.type.tensor_type
        shape = self._shape(kind.shape, where)
        try:
            dtype = self.onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        except DAMAGE as error:
            raise UnsupportedError(f"type {kind.elem_type} is not supported", where=where) from error
        if dtype == np.object_:
            raise UnsupportedError("text is not supported", where=where, fix="Give numbers.")
        order = input_order(self.file, entry.name, shape)
        stored = tuple(shape[dim] for dim in order)
        layout = self.inputs[entry.name] = Layout.dense(shape, order)
        return GraphInput(entry.name, np.dtype(dtype), stored, layout)

    def _shape(self, dims: Any, where: str) -> Shape:
        """A shape from the file; an unspecified batch size becomes 1."""
        shape = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in dims.dim]
        if shape and shape[0] <= 0:
            shape[0] = 1
            self.notes.append(f"{where} has a free batch size, '{dims.dim[0].dim_param}': 1 is taken")
        if any(size <= 0 for size in shape) or np.prod(shape, dtype=object) > MOST_ELEMENTS:
            text = [dim.dim_param or str(dim.dim_value) for dim in dims.dim]
            raise UnsupportedError(
                f"shape [{', '.join(text)}] is not static and positive",
                where=where,
                fix="Fix its sizes: `python -m onnxruntime.tools.make_dynamic_shape_fixed "
                f"--input_name {where.partition(' ')[2]} --input_shape 1,... model.onnx fixed.onnx`",
            )
        return tuple(shape)

    def _node(self, index: int, node: Any) -> None:
        operator = self._operator(index, node)
        self.builder.label = operator.output_names[0] if operator.output_names else operator.name
        try:
            results = fold_node(self.onnx, node, operator, self.opset)
            if results is None:
                results = convert(operator)
        except TinygenError as error:
            # Errors of a converter's helpers name tinygen's operators at most, not the file's node.
            if operator.describe() not in error.where:
                error.where = f"{operator.describe()}: {error.where}" if error.where else operator.describe()
            raise
        except DAMAGE as error:
            raise ModelError(f"its attributes or operands are damaged ({error})", where=operator.describe()) from error
        for name, value in zip(operator.output_names, results, strict=False):
            if name:
                self.values[name] = value

    def _operator(self, index: int, node: Any) -> Operator:
        name = node.name or (node.output[0] if node.output else f"{node.op_type}_{index}")
        for wanted in node.input:
            if wanted and wanted not in self.values:
                raise ModelError(
                    f"its input '{wanted}' is written by no earlier operator", where=f"{node.op_type} '{name}'"
                )
        return Operator(
            builder=self.builder,
            name=name,
            domain=node.domain,
            kind=node.op_type,
            inputs=tuple(self.values[wanted] if wanted else None for wanted in node.input),
            input_names=tuple(node.input),
            output_names=tuple(node.output),
            attributes={entry.name: self._attribute(entry) for entry in node.attribute},
            read_branches=self._branches,
            reference=self._evaluate,
            opset=self.opset,
            clamp=self._clamp(node),
            taken=frozenset(i for i, output in enumerate(node.output) if self.readers[output]),
            sole_reader=len(node.input) > 0 and self.readers[node.input[0]] == 1,
        )

    def _evaluate(self, operator: Operator, arrays: Mapping[int, np.ndarray]) -> np.ndarray:
        names = [name if index in arrays else "" for index, name in enumerate(operator.input_names)]
        node = self.onnx.helper.make_node(operator.kind, names, ["output"], **operator.attributes)
        named = {names[index]: array for index, array in arrays.items()}
        return np.asarray(evaluate_node(self.onnx, node, named, self.opset)[0])

    def _clamp(self, node: Any) -> tuple[float, float] | None:
        """Bounds of a Clip that is the only reader of a node's output; None if there is none."""
        readers = [other for name in node.output[:1] for other in self.file.node if name in other.input]
        if len(readers) != 1 or readers[0].op_type != "Clip" or len(readers[0].input) != 3:
            return None
        bounds = [self.values.get(name) for name in readers[0].input[1:]]
        if not all(isinstance(bound, Constant) and bound.array.size == 1 for bound in bounds):
            return None
        low, high = (float(bound.array.reshape(-1)[0]) for bound in bounds if isinstance(bound, Constant))
        return low, high

    def _attribute(self, entry: Any) -> Any:
        value = self.onnx.helper.get_attribute_value(entry)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
