"""The Jinja2 environment over templates/."""

from __future__ import annotations

from functools import cache

import jinja2

from tinygen.lowering.ctypes import float_literal
from tinygen.paths import resource


@cache
def environment() -> jinja2.Environment:
    """Strict: an undefined value is an error, never an empty string in the C."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters |= {"float": float_literal, "times": times, "minus": minus, "advance": advance, "also": also}
    return env


def times(factor: object, suffix: str = "") -> str:
    """` * factor`, behind an operand, with the literal's suffix; nothing for a factor of 1."""
    return "" if factor == 1 else f" * {factor}{suffix}"


def minus(amount: int) -> str:
    """` - amount`, behind an operand; nothing for 0."""
    return f" - {amount}" if amount else ""


def advance(amount: object, name: str) -> str:
    """The statement that moves `name` on by so much."""
    return f"{name}++" if amount == 1 else f"{name} += {amount}"


def also(amount: object, name: str) -> str:
    """The same as one more expression of a list, such as that of a `for`; nothing for 0."""
    return "" if amount == 0 else f", {advance(amount, name)}"
