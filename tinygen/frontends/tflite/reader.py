"""Reads the flatbuffer: tensors, constants, operators. Trusts nothing in the file."""

from __future__ import annotations

import importlib
import pkgutil
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flatbuffers
import tflite

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.names import c_name
from tinygen.frontends.tflite import operators
from tinygen.frontends.tflite.advice import advise
from tinygen.frontends.tflite.contracts import check_operator, check_version
from tinygen.frontends.tflite.hybrid import with_float_weights
from tinygen.frontends.tflite.missing import check_known
from tinygen.frontends.tflite.registry import DECODER, OPERATOR_NAMES, Declared, Operator, convert
from tinygen.frontends.tflite.tensors import check_halves, read_tensors
from tinygen.frontends.tflite.unsigned import Signs, Use
from tinygen.frontends.tflite.values import Values
from tinygen.frontends.tflite.variables import VARIABLE_OPERATORS, Variables
from tinygen.ir.branch import MOST_NESTED
from tinygen.ir.encodings import Binary
from tinygen.ir.graph import Graph
from tinygen.ir.state import State
from tinygen.ir.steps import Steps
from tinygen.ir.tensor import Tensor

for _module in pkgutil.iter_modules(operators.__path__):
    importlib.import_module(f"{operators.__name__}.{_module.name}")

_SCHEMA_VERSION = 3
_MOST_BRANCHES = 256
_VARIABLES_IN_BRANCHES = "variables in branches are not supported"
"""A file may call one subgraph in many places; each is code of its own."""

# Offset of the 32-bit field in the vtable of an operator code.
_BUILTIN_CODE = 10

# Exceptions of the flatbuffer accessors for offsets outside the file or to a wrong type.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, KeyError, AttributeError, MemoryError)


def load_tflite(path: Path, name: str | None = None, *, in_float: bool = False) -> Graph:
    """Reads a .tflite file.

    Args:
        path: the file.
        name: C identifier for the model; by default made from the file's name.
        in_float: compute layers of float activations and integer weights in float32.

    Raises:
        ModelError: the file cannot be read or is damaged.
        UnsupportedError: it uses an operator, type or shape tinygen lacks.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return read_tflite(content, name or c_name(path.stem), str(path), in_float=in_float)


def read_tflite(content: bytes, name: str = "model", where: str = "model", *, in_float: bool = False) -> Graph:
    """As `load_tflite`, from bytes; `where` names the file in errors."""
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise ModelError("is not a TensorFlow Lite model (no TFL3 mark)", where=where)
    graph = None
    try:
        graph = _Reader(content, name, in_float=in_float).graph()
        graph.validate()
    except TinygenError as error:
        advise(error, graph)
        error.where = f"{where}: {error.where}" if error.where else where
        raise
    except _DAMAGE as error:
        raise ModelError(
            f"is damaged: its tables point outside the file or disagree ({error})",
            where=where,
            fix="Check that the file was copied whole, and that other tools can open it.",
        ) from error
    return graph


class _Reader:
    def __init__(self, content: bytes, name: str, *, in_float: bool) -> None:
        self.size = len(content)
        self.name = name
        self.in_float = in_float
        self.branches = 0
        self.model = tflite.Model.GetRootAs(content, 0)
        if self.model.Version() != _SCHEMA_VERSION:
            raise ModelError(f"has version {self.model.Version()} of the schema, only {_SCHEMA_VERSION} is known")
        if self._count(self.model.SubgraphsLength()) < 1:
            raise ModelError("has no subgraph")
        if any(self.model.Subgraphs(i).TensorsIsNone() for i in range(self.model.SubgraphsLength())):
            raise ModelError("is damaged: a subgraph has no list of tensors")
        self.codes = [self._code(index) for index in range(self._count(self.model.OperatorCodesLength()))]

    def _count(self, length: int) -> int:
        """A vector's length, checked: no vector can have more entries than the file has bytes."""
        if not 0 <= length <= self.size:
            raise ModelError(f"is damaged: a table claims {length} entries in a file of {self.size} bytes")
        return length

    def _code(self, index: int) -> tuple[int, str]:
        """Builtin code of an entry in the file's operator list, and the custom code of a custom operator."""
        entry = self.model.OperatorCodes(index)
        # Old writers fill only the 8-bit field, new ones both: by the schema's rule the larger value counts. The
        # accessor of the bindings ignores the new field if the code fits the old one.
        place = entry._tab.Offset(_BUILTIN_CODE)
        new = entry._tab.Get(flatbuffers.number_types.Int32Flags, entry._tab.Pos + place) if place else 0
        code = max(new, entry.DeprecatedBuiltinCode())
        check_version(code, entry.Version())
        custom = (entry.CustomCode() or b"").decode("utf-8", "replace")
        return code, custom if code == tflite.BuiltinOperator.CUSTOM else ""

    def graph(self) -> Graph:
        """The graph of the first subgraph, and of those that it calls."""
        return self._graph((0,))

    def _branch(self, within: tuple[int, ...], index: int) -> Graph:
        """A subgraph that an operator calls.

        Args:
            within: indices of the nested subgraphs, outermost first; the last one holds the operator.
        """
        if not 0 < index < self._count(self.model.SubgraphsLength()) or index in within:
            raise ModelError(f"is damaged: subgraph {index} cannot be called in subgraph {within[-1]}")
        self.branches += 1
        if len(within) > MOST_NESTED or self.branches > _MOST_BRANCHES:
            raise UnsupportedError(
                f"has more than {MOST_NESTED} subgraphs within each other, or {_MOST_BRANCHES} in all",
                fix="Let fewer conditions lie within each other: an index chooses among many branches at once.",
            )
        return self._graph((*within, index))

    def _graph(self, within: tuple[int, ...]) -> Graph:
        graph = self.model.Subgraphs(within[-1])
        self._count(graph.OperatorsLength())
        check_known(graph, self.codes)
        tensors, declared = read_tensors(self.model, graph, self._count, self._packed(graph))
        inputs = self._indices(graph.InputsAsNumpy(), len(tensors))
        outputs = self._indices(graph.OutputsAsNumpy(), len(tensors))
        variables = Variables(self._other_subgraph)
        signs = Signs(tensors, list(self._uses(graph, tensors)), {tensors[i].name for i in (*inputs, *outputs)})
        declared |= {twin.name: declared[name] for name, twin in signs.twins.items()}
        values = Values(signs.tensors, declared, self._assigned(graph, tensors))
        values.add(signs.twins.values())
        ops = list(values.take(signs.turned(tensors[i].name for i in inputs)))
        states: list[State] = []
        written = {tensor.name for tensor in tensors if tensor.is_constant} | {tensors[i].name for i in inputs}
        written |= {tensor.name for tensor in tensors if declared[tensor.name].is_variable}
        for index in range(graph.OperatorsLength()):
            operator = self._operator(graph, index, values, declared, within)
            _check(operator, written)
            if operator.code not in VARIABLE_OPERATORS:
                ready = with_float_weights(signs.of(operator, values), values, wanted=self.in_float)
                steps = _converted(ready)
                states += self._new_states(steps, states, operator, within)
                ops += values.take(steps)
                ops += values.take(signs.turned((tensor.name for tensor in operator.outputs), operator.code))
                continue
            if len(within) > 1:
                raise UnsupportedError(
                    _VARIABLES_IN_BRANCHES,
                    where=operator.describe(),
                    fix="Read the variable in front of the IF, and assign it behind it.",
                )
            value = variables.meet(operator.code, operator)
            ops += values.take(signs.turned((tensor.name for tensor in operator.outputs), operator.code))
            if value is not None:
                values.become(operator.outputs[0], value)
        touched = {name for op in ops for name in (*op.inputs, *op.outputs) if name}
        check_halves(map(values.named, touched | {values[i].name for i in (*inputs, *outputs)}), declared)
        for index in outputs:
            if isinstance(values[index].encoding, Binary):
                raise UnsupportedError(
                    "is an output of packed bits",
                    where=f"tensor '{values[index].name}'",
                    fix="Let the model end with LceDequantize.",
                )
        return Graph(
            name=self.name,
            tensors=values.tensors(),
            ops=tuple(ops),
            inputs=tuple(values[i].name for i in inputs),
            outputs=tuple(values[i].name for i in outputs),
            states=(*variables.states(), *states),
        )

    def _new_states(
        self, steps: Steps, known: Sequence[State], operator: Operator, within: tuple[int, ...]
    ) -> tuple[State, ...]:
        """The states of an operator, which are its own."""
        variable = {tensor.name for tensor in operator.inputs if tensor and operator.declared[tensor.name].is_variable}
        if variable - {state.tensor for state in steps.states}:
            raise UnsupportedError(
                f"'{min(variable)}' is a variable tensor, which only recurrent layers may have",
                where=operator.describe(),
                fix="Keep the state in a resource variable (tf.Variable), or let it be an input and an output.",
            )
        if steps.states and len(within) > 1:
            raise UnsupportedError(
                _VARIABLES_IN_BRANCHES, where=operator.describe(), fix="Put the layer in front of the IF, or behind it."
            )
        twice = {state.tensor for state in known} & {state.tensor for state in steps.states}
        if twice:
            raise UnsupportedError(
                f"'{min(twice)}' is another layer's state, too",
                where=operator.describe(),
                fix="Give each layer states of its own.",
            )
        return steps.states

    def _packed(self, subgraph: Any) -> set[int]:
        """Indices of the tensors that decoders read."""
        found = (subgraph.Operators(number) for number in range(subgraph.OperatorsLength()))
        decoders = [raw for number, raw in enumerate(found) if self._code_of(raw, number)[1] == DECODER]
        return {int(raw.Inputs(i)) for raw in decoders for i in range(self._count(raw.InputsLength()))}

    def _assigned(self, subgraph: Any, tensors: Sequence[Tensor]) -> set[str]:
        """Names of the tensors that variables are assigned: states become results of operators."""
        found = []
        for number in range(self._count(subgraph.OperatorsLength())):
            raw = subgraph.Operators(number)
            if self._code_of(raw, number)[0] == tflite.BuiltinOperator.ASSIGN_VARIABLE:
                found += [raw.Inputs(i) for i in range(self._count(raw.InputsLength()))]
        return {tensors[i].name for i in self._indices([i for i in found if i != -1], len(tensors))}

    def _uses(self, subgraph: Any, tensors: Sequence[Tensor]) -> Iterator[Use]:
        """The operators of a subgraph; what is damaged in them is said where they are read."""
        for index in range(subgraph.OperatorsLength()):
            raw = subgraph.Operators(index)
            if raw.OpcodeIndex() < len(self.codes):
                read, written = (
                    tuple(tensors[i].name for i in map(tensor, range(count)) if 0 <= i < len(tensors))
                    for tensor, count in ((raw.Inputs, raw.InputsLength()), (raw.Outputs, raw.OutputsLength()))
                )
                yield Use(self.codes[raw.OpcodeIndex()][0], read, written)

    def _other_subgraph(self, index: int) -> list[tuple[int, Operator]]:
        """Operators, with their codes, of a subgraph without inputs and outputs."""
        if not 0 < index < self._count(self.model.SubgraphsLength()):
            raise ModelError(f"is damaged: there is no subgraph {index} to call")
        subgraph = self.model.Subgraphs(index)
        if self._count(subgraph.InputsLength()) or self._count(subgraph.OutputsLength()):
            raise ModelError("has inputs or outputs, and is called once", where=f"subgraph {index}")
        tensors, declared = read_tensors(self.model, subgraph, self._count)
        written = {tensor.name for tensor in tensors if tensor.is_constant}
        found = []
        for number in range(self._count(subgraph.OperatorsLength())):
            operator = self._operator(subgraph, number, tensors, declared, (0, index))
            _check(operator, written)
            found.append((operator.code, operator))
        return found

    def _code_of(self, raw: Any, index: int) -> tuple[int, str]:
        """Builtin code and custom code of operator `index`."""
        if raw.OpcodeIndex() >= len(self.codes):
            raise ModelError(f"is damaged: operator {index} has no code {raw.OpcodeIndex()}")
        return self.codes[raw.OpcodeIndex()]

    def _indices(self, vector: Any, limit: int) -> list[int]:
        indices = [] if isinstance(vector, int) else [int(i) for i in vector]
        for index in indices:
            if not 0 <= index < limit:
                raise ModelError(f"is damaged: tensor index {index} of {limit}")
        return indices

    def _operator(
        self,
        subgraph: Any,
        index: int,
        tensors: Sequence[Tensor],
        declared: dict[str, Declared],
        within: tuple[int, ...],
    ) -> Operator:
        """An operator in the innermost subgraph of `within`, with its operands."""
        raw = subgraph.Operators(index)
        code, custom = self._code_of(raw, index)
        label = OPERATOR_NAMES.get(code, f"op{code}").lower()
        return Operator(
            name=f"{label}_{index}",
            code=code,
            custom=custom,
            inputs=tuple(self._operand(raw.Inputs(i), tensors) for i in range(self._count(raw.InputsLength()))),
            outputs=tuple(
                tensors[i]
                for i in self._indices([raw.Outputs(j) for j in range(self._count(raw.OutputsLength()))], len(tensors))
            ),
            raw=raw,
            declared=declared,
            subgraph=partial(self._branch, within),
        )

    def _operand(self, index: int, tensors: Sequence[Tensor]) -> Tensor | None:
        if index == -1:
            return None
        return tensors[self._indices([index], len(tensors))[0]]


def _check(operator: Operator, written: set[str]) -> None:
    """Checks an operator against its contract, and that its inputs are in `written`; adds its outputs to that."""
    check_operator(operator)
    for tensor in operator.inputs:
        if tensor is not None and tensor.name not in written:
            raise ModelError(f"tensor '{tensor.name}' is used before anything writes it", where=operator.describe())
    for tensor in operator.outputs:
        if tensor.name in written:
            raise ModelError(
                f"tensor '{tensor.name}' is an input, a constant or another's output, too", where=operator.describe()
            )
        written.add(tensor.name)


def _converted(operator: Operator) -> Steps:
    try:
        return convert(operator)
    except TinygenError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"its options or operands are damaged ({error})", where=operator.describe()) from error
