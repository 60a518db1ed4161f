"""Small pieces of C text: types, literals, array bodies."""

from __future__ import annotations

import numpy as np

from tinygen.lowering.ctypes import double_literal, float_literal


def integer_literal(value: int, dtype: np.dtype) -> str:
    if dtype.name == "int32" and value == -(2**31):
        return "INT32_MIN"
    if dtype.name == "int64":
        return "INT64_MIN" if value == -(2**63) else f"INT64_C({value})"
    return str(value)


def array_lines(data: np.ndarray, width: int = 96) -> list[str]:
    """The body of an array initialiser, wrapped."""
    flat = data.reshape(-1)
    if flat.dtype == np.float64:
        words = [double_literal(value) for value in flat]
    elif flat.dtype.kind == "f":
        words = [float_literal(value) for value in flat]
    else:
        words = [integer_literal(value, flat.dtype) for value in flat.tolist()]
        words = ["1" if word == "True" else "0" if word == "False" else word for word in words]
    lines: list[str] = []
    current = ""
    for word in words:
        if len(current) + len(word) + 2 > width:
            lines.append(current.rstrip())
            current = ""
        current += word + ", "
    if current:
        lines.append(current.rstrip())
    return lines


def comment_safe(text: str) -> str:
    """Text that cannot end a C comment or a string early, in plain ASCII."""
    ascii_text = text.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    printable = "".join(c if c.isprintable() else " " for c in ascii_text)
    return printable.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
