"""Lines of C that are too long to be read side by side."""

from __future__ import annotations

import re

from tinygen.emit.lines import COLUMNS

_NAME = re.compile(r"[\w/.]{80}")
"""Of a layer many branches deep, whose path has slashes and dots: no line break makes it shorter."""


def too_long(text: str) -> list[str]:
    return [line for line in text.split("\n") if len(line) > COLUMNS and not _NAME.search(line)]
