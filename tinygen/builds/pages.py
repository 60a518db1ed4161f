"""HTML pages from `templates/report`: self-contained, nothing is fetched."""

from __future__ import annotations

import jinja2

from tinygen.paths import resource

COLOURS = ("#4c8dd6", "#e0884a", "#5fae72", "#b06fc0", "#d65f6e", "#8a9a3c", "#4fb3b3", "#a0785a")


def page_environment() -> jinja2.Environment:
    """The template environment of all pages."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates") / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
