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
    env.filters["float"] = float_literal
    return env
