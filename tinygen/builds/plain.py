"""Converts dataclasses to plain JSON values and back; errors name the place and the reason."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
OPTIONAL = {"optional": True}
"""Metadata of a field that is omitted while it has its default."""
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


class PlainError(ValueError):
    """A value has the wrong type for its place: `layers[3].macs: "many" is not a whole number`."""


def to_plain(value: Any) -> Any:
    """Converts a value of dataclasses, enums, tuples and mappings to plain JSON values."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value) if not _is_left_out(value, one)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def _is_left_out(value: Any, one: Field[Any]) -> bool:
    return bool(one.metadata.get("optional")) and getattr(value, one.name) == one.default


def from_plain(kind: type[T], content: Any, where: str = "") -> T:
    """Converts plain JSON values to a value of a type. Keys that a dataclass does not have are left out.

    Args:
        kind: a dataclass, an enum, or what their fields are annotated with.
        content: as `json.loads` gives it.
        where: its place, for errors.

    Raises:
        PlainError: something is missing, or of another type.
    """
    return _read(kind, content, where)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, content: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return content
    if origin in (Union, types.UnionType):
        if content is None and type(None) in arguments:
            return None
        (only,) = (one for one in arguments if one is not type(None))
        return _read(only, content, where)
    if origin is tuple:
        return _read_tuple(arguments, content, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(content, dict):
            raise _wrong(content, "an object", where)
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in content.items()}
    if is_dataclass(kind):
        return _read_dataclass(kind, content, where)
    if issubclass(kind, Enum):
        try:
            return kind(content)
        except ValueError:
            raise _wrong(content, f"one of: {', '.join(str(one.value) for one in kind)}", where) from None
    if kind is float and type(content) is int:
        return float(content)
    if type(content) is not kind:
        raise _wrong(content, _WORDS[kind], where)
    return content


def _read_tuple(kinds: tuple[Any, ...], content: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(content, list):
        raise _wrong(content, "a list", where)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(content)
    if len(kinds) != len(content):
        raise _wrong(content, f"a list of {len(kinds)}", where)
    return tuple(_read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, content, strict=True)))


def _read_dataclass(kind: Any, content: Any, where: str) -> Any:
    if not isinstance(content, dict):
        raise _wrong(content, "an object", where)
    found = {}
    for one in fields(kind):
        place = f"{where}.{one.name}" if where else one.name
        if one.name in content:
            found[one.name] = _read(_hints(kind)[one.name], content[one.name], place)
        elif one.default is MISSING and one.default_factory is MISSING:
            raise PlainError(f"{place} is missing")
    return kind(**found)


def _wrong(content: Any, wanted: str, where: str) -> PlainError:
    text = repr(content)
    return PlainError(f"{where or 'it'}: {text if len(text) < 40 else text[:36] + ' ...'} is not {wanted}")
