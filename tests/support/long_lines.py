"""Lines of C that are too long to be read side by side."""

from __future__ import annotations

from tinygen.emit.lines import COLUMNS


def too_long(text: str) -> list[str]:
    return [line for line in text.split("\n") if len(line) > COLUMNS]
