"""JSON to the IR's dataclasses: each field is decoded and checked by its type annotation."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

import tinygen.ir
from tinygen.errors import ModelError
from tinygen.frontends.tg.format import ARRAY, FLOAT, TYPE
from tinygen.frontends.tg.former import renewed

_NOT_FINITE = {str(value): value for value in (math.inf, -math.inf, math.nan)}


class Decoder:
    """Makes values of a given type from JSON.

    Attributes:
        arrays: by the N of `{"array": N}`.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays

    def decode(self, content: Any, hint: Any, where: str) -> Any:
        """A value of type `hint`.

        Args:
            content: the parsed JSON.
            hint: a type annotation: a class, a union, or tuple[...], Mapping[str, ...].
            where: path of the value in the file, for errors.

        Raises:
            ModelError: the content is not of that type.
        """
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return self._union(content, arguments, where)
        if origin is tuple:
            return self._tuple(content, arguments, where)
        if origin is not None and issubclass(origin, Mapping):
            if not isinstance(content, dict):
                raise _wrong(content, "an object", where)
            return {key: self.decode(item, arguments[1], f"{where}.{key}") for key, item in content.items()}
        if hint is Any:
            raise ModelError("has a field of no particular type", where=where)
        return self._plain(content, origin or hint, where)

    def _plain(self, content: Any, kind: type, where: str) -> Any:
        """A value of a class that is not generic."""
        if kind is float:
            return _float(content, where)
        if kind in (int, bool, str, type(None)):
            if type(content) is not kind:
                raise _wrong(content, kind.__name__, where)
            return content
        if issubclass(kind, Enum):
            return _member(content, kind, where)
        if issubclass(kind, np.ndarray):
            return self._array(content, where)
        if is_dataclass(kind):
            return self._dataclass(content, kind, where)
        raise ModelError(f"has a field of type {kind.__name__}, which files do not hold", where=where)

    def _union(self, content: Any, choices: Sequence[Any], where: str) -> Any:
        """The value by the first choice that fits. If only one choice is possible, errors say why it does not fit."""
        if content is not None:
            choices = [choice for choice in choices if choice is not type(None)]
        if isinstance(content, dict) and TYPE in content:
            choices = [choice for choice in choices if _class_named(content[TYPE], choice)] or choices
        if len(choices) == 1:
            return self.decode(content, choices[0], where)
        # An int is a float too, so int goes first.
        for choice in sorted(choices, key=lambda choice: choice is float):
            try:
                return self.decode(content, choice, where)
            except ModelError:
                continue
        raise _wrong(content, " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices), where)

    def _tuple(self, content: Any, arguments: Sequence[Any], where: str) -> tuple[Any, ...]:
        if not isinstance(content, list):
            raise _wrong(content, "a list", where)
        hints = [arguments[0]] * len(content) if len(arguments) == 2 and arguments[1] is ... else list(arguments)
        if len(hints) != len(content):
            raise ModelError(f"has {len(content)} entries instead of {len(hints)}", where=where)
        pairs = enumerate(zip(content, hints, strict=True))
        return tuple(self.decode(item, hint, f"{where}[{index}]") for index, (item, hint) in pairs)

    def _array(self, content: Any, where: str) -> np.ndarray:
        index = content.get(ARRAY) if isinstance(content, dict) and len(content) == 1 else None
        if type(index) is not int:
            raise _wrong(content, "an array", where)
        if not 0 <= index < len(self.arrays):
            raise ModelError(f"array {index} is missing", where=where)
        return self.arrays[index]

    def _dataclass(self, content: Any, base: type, where: str) -> Any:
        if not isinstance(content, dict):
            raise _wrong(content, f"a {base.__name__}", where)
        content = renewed(content)
        name = content.get(TYPE)
        kind = _class_named(name, base)
        if kind is None:
            raise ModelError(
                f"'{name}' is no {base.__name__} that this version of tinygen has",
                where=where,
                fix="Read the file with the version of tinygen that wrote it, or a newer one.",
            )
        hints = _hints(kind)
        unknown = content.keys() - hints.keys() - {TYPE}
        if unknown:
            raise ModelError(f"{name} has no field {', '.join(sorted(unknown))}", where=where)
        known = {
            key: self.decode(content[key], hint, f"{where}.{key}") for key, hint in hints.items() if key in content
        }
        missing = _required(kind) - known.keys()
        if missing:
            raise ModelError(f"{name} lacks its field {', '.join(sorted(missing))}", where=where)
        try:
            return kind(**known)
        except (ValueError, TypeError) as error:
            raise ModelError(f"{name} cannot be made of its fields ({error})", where=where) from error


def _float(content: Any, where: str) -> float:
    if isinstance(content, dict) and content.keys() == {FLOAT} and content[FLOAT] in _NOT_FINITE:
        return _NOT_FINITE[content[FLOAT]]
    if type(content) not in (int, float):
        raise _wrong(content, "a number", where)
    try:
        return float(content)
    except OverflowError as error:
        raise _wrong(content, "a number", where) from error


def _member(content: Any, kind: type[Enum], where: str) -> Enum:
    for member in kind:
        if type(member.value) is type(content) and member.value == content:
            return member
    raise _wrong(content, kind.__name__, where)


def _wrong(content: Any, wanted: str, where: str) -> ModelError:
    text = repr(content)
    return ModelError(f"holds {text if len(text) < 60 else text[:57] + '...'} in place of {wanted}", where=where)


def _class_named(name: Any, base: Any) -> type | None:
    """The class of that name that is `base` or a subclass of it, and not abstract; None if there is none."""
    if not (isinstance(base, type) and is_dataclass(base) and isinstance(name, str)):
        return None
    return _classes(base).get(name)


@cache
def _classes(base: type) -> dict[str, type]:
    _import_ir()
    found, todo = {}, [base]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        # Subclasses defined outside tinygen are not part of the format.
        if kind.__module__.startswith(f"{tinygen.ir.__name__}.") and not inspect.isabstract(kind):
            found[kind.__name__] = kind
    return found


@cache
def _import_ir() -> None:
    """Imports all modules of the IR: subclasses are known only after that."""
    for module in pkgutil.walk_packages(tinygen.ir.__path__, f"{tinygen.ir.__name__}."):
        importlib.import_module(module.name)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init and "not saved" not in field.metadata}


def _required(kind: type) -> set[str]:
    plain = {field.name for field in fields(kind) if field.init and field.default is MISSING}
    return plain - {field.name for field in fields(kind) if field.default_factory is not MISSING}
