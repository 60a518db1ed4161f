"""Converters of ONNX operators, on codes and on floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tinygen.errors import UnsupportedError
from tinygen.frontends.onnx.advice import advice
from tinygen.frontends.onnx.node import STANDARD, NotQuantizedError, Operator
from tinygen.frontends.onnx.steps import real_of
from tinygen.frontends.onnx.values import Coded, GraphInput, Pending, Value

Result = Value | list[Value]
Converter = Callable[[Operator], Result]


@dataclass(frozen=True)
class _Entry:
    """How an operator is converted.

    Attributes:
        codes: on codes; None if there is no such form.
        floats: on floats; the same where an operator only moves elements.
        strict: whether it computes in float only where operands have no codes, not where the form on codes is refused.
    """

    codes: Converter | None = None
    floats: Converter | None = None
    strict: bool = False


_ENTRIES: dict[tuple[str, str], _Entry] = {}


def converts(
    *kinds: str, domains: Sequence[str] = STANDARD, strict: bool = False, moves: bool = False
) -> Callable[[Converter], Converter]:
    """Registers the decorated function as the converter of these operators, on codes.

    Args:
        kinds: of operators.
        domains: of them.
        strict: see `_Entry`.
        moves: whether it converts operators on floats, too.
    """

    def register(function: Converter) -> Converter:
        for key in ((domain, kind) for domain in domains for kind in kinds):
            known = _ENTRIES.get(key, _Entry())
            assert known.codes is None, key
            _ENTRIES[key] = replace(known, codes=function, floats=function if moves else known.floats, strict=strict)
        return function

    return register


def computes(*kinds: str, domains: Sequence[str] = STANDARD) -> Callable[[Converter], Converter]:
    """Registers the decorated function as the converter of these operators on floats: `Operator.real` gives inputs."""

    def register(function: Converter) -> Converter:
        for key in ((domain, kind) for domain in domains for kind in kinds):
            known = _ENTRIES.get(key, _Entry())
            assert known.floats is None, key
            _ENTRIES[key] = replace(known, floats=function)
        return function

    return register


def supported_operators() -> list[str]:
    """Names of the operators that have a converter, sorted."""
    return sorted({kind for _, kind in _ENTRIES})


def convert(operator: Operator) -> list[Value]:
    """The node's outputs.

    Raises:
        UnsupportedError: there is no converter.
    """
    entry = _ENTRIES.get((operator.domain, operator.kind))
    if entry is None:
        domain = f" of domain '{operator.domain}'" if operator.domain not in STANDARD else ""
        raise UnsupportedError(
            f"operator {operator.kind}{domain} is not supported",
            where=operator.describe(),
            fix=advice(operator.kind, operator.computed),
        )
    on_floats = any(isinstance(value, Coded) and value.tensor.is_float for value in operator.inputs)
    if entry.codes is None or (on_floats and entry.floats is not None):
        return _in_float(operator, entry)
    undo = operator.builder.mark()
    try:
        result = entry.codes(operator)
    except UnsupportedError as error:
        apart = any(isinstance(value, GraphInput | Pending) for value in operator.inputs)
        unknown = apart or isinstance(error, NotQuantizedError)
        if entry.floats is None or (entry.strict and not unknown):
            raise
        undo()
        try:
            return _in_float(operator, entry)
        except UnsupportedError as second:
            raise (second if unknown else error) from None
    results = result if isinstance(result, list) else [result]
    return [_with_floats(operator, entry, index, value) for index, value in enumerate(results)]


def _with_floats(operator: Operator, entry: _Entry, index: int, value: Value) -> Value:
    """A pending value that knows its floats, should nothing quantize it."""
    if not isinstance(value, Pending):
        return value

    def in_float() -> Coded:
        label = operator.builder.label
        operator.builder.label = operator.output_names[index]
        found = _in_float(operator, entry)[index]
        operator.builder.label = label
        assert isinstance(found, Coded)
        return found

    return replace(value, in_float=in_float if entry.floats else None)


def _in_float(operator: Operator, entry: _Entry) -> list[Value]:
    """The outputs of a node on floats."""
    converter = entry.floats
    assert converter is not None
    inputs = tuple(None if value is None else real_of(operator.builder, value) for value in operator.inputs)
    result = converter(replace(operator, inputs=inputs))
    return result if isinstance(result, list) else [result]
