"""The Jinja2 environment over templates/."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from tinygen.emit.lines import wrap_lines
from tinygen.emit.loops import without_single_passes
from tinygen.lowering.ctypes import float_literal, minus
from tinygen.paths import resource


class _Template(jinja2.Template):
    """One that renders C without loops of one pass, in lines of at most 120 columns."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        text = super().render(*args, **kwargs)
        return wrap_lines(without_single_passes(text)) if (self.name or "").endswith((".c.j2", ".h.j2")) else text


@cache
def environment() -> jinja2.Environment:
    """Strict: an undefined value is an error, never an empty string in the C."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,  # else each use asks when the file has changed
    )
    env.template_class = _Template
    env.filters |= {"float": float_literal, "times": times, "minus": minus, "advance": advance, "also": also}
    return env


def times(factor: object, suffix: str = "") -> str:
    """` * factor` for use after an operand, with the literal's suffix; "" for a factor of 1."""
    return "" if factor == 1 else f" * {factor}{suffix}"


def advance(amount: object, name: str) -> str:
    """The statement that advances `name` by an amount; "" for 0."""
    return f"{name}++" if amount == 1 else f"{name} += {amount}"


def also(amount: object, name: str) -> str:
    """As `advance`, for a list of expressions, such as in a `for`; "" for 0."""
    return "" if amount == 0 else f", {advance(amount, name)}"
