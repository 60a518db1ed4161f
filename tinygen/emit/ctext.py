"""Small pieces of C text: types, literals, array bodies."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, count

import numpy as np

from tinygen.lowering.ctypes import double_literal, float_literal
from tinygen.lowering.plan import Field

_CHUNK = 65536
"""Elements at a time: lists of Python objects take tens of times the memory of the array."""
_INT8 = [str(value) for value in (*range(128), *range(-128, 0))]
"""Indexed by the value: Python's negative indices do the rest."""


def integer_literal(value: int, dtype: np.dtype) -> str:
    if dtype == np.int32 and value == -(2**31):
        return "INT32_MIN"
    if dtype == np.int64:
        return "INT64_MIN" if value == -(2**63) else f"INT64_C({value})"
    return str(value)


def array_lines(data: np.ndarray, width: int = 96) -> list[str]:
    """The body of an array initialiser, wrapped."""
    flat = data.reshape(-1)
    lines: list[str] = []
    rest: list[str] = []
    for start in range(0, max(flat.size, 1), _CHUNK):
        words = rest + _words(flat[start : start + _CHUNK])
        ends = list(accumulate(len(word) + 2 for word in words))
        first = 0
        # A line is complete when the next word does not fit.
        while first < len(words) and ends[-1] - (ends[first - 1] if first else 0) > width:
            before = ends[first - 1] if first else 0
            last = max(bisect_right(ends, before + width, first), first + 1)
            lines.append(", ".join(words[first:last]) + ",")
            first = last
        rest = words[first:]
    if rest:
        lines.append(", ".join(rest) + ",")
    return lines


def struct_lines(rows: np.ndarray, fields: Sequence[Field]) -> list[str]:
    """The body of an initialiser of structs, one a line.

    Args:
        rows: int32 [structs, words].
        fields: what the words are.
    """
    lines = []
    for row in rows:
        words, parts, at = _words(row), [], 0
        for field in fields:
            part = ", ".join(words[at : at + field.words])
            parts.append(part if field.count is None else f"{{{part}}}")
            at += field.words
        lines.append(f"{{{', '.join(parts)}}},")
    return lines


def _words(flat: np.ndarray) -> list[str]:
    """Each element as a C literal."""
    if flat.dtype == np.float64:
        return [double_literal(value) for value in flat]
    if flat.dtype.kind == "f":
        return [float_literal(value) for value in flat]
    if flat.dtype == np.int8:
        return list(map(_INT8.__getitem__, flat.tolist()))
    if flat.dtype.kind == "b":
        return ["1" if value else "0" for value in flat.tolist()]
    if flat.dtype.itemsize < 4:
        return list(map(str, flat.tolist()))
    dtype = flat.dtype
    return [integer_literal(value, dtype) for value in flat.tolist()]


def candidates(name: str) -> Iterator[str]:
    """Candidate C identifiers: the name, then the name with numbers. Names of layers in branches contain "/"."""
    name = name.replace("/", "_")
    yield name
    for number in count(2):
        yield f"{name}_{number}"


def comment_safe(text: str) -> str:
    """Text that cannot end a C comment or a string early, in plain ASCII."""
    ascii_text = text.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    printable = "".join(c if c.isprintable() else " " for c in ascii_text)
    apart = printable.replace("*/", "* /").replace("/*", "/ *")
    return re.sub(r"\?(?=\?)", "? ", apart)
