"""Names of LiteRT's kernel sets, for the command line: what runs them needs NumPy."""

from __future__ import annotations

from enum import StrEnum


class Oracle(StrEnum):
    """LiteRT's own kernel sets; they do not all give the same codes."""

    REF = "ref"
    OPTIMIZED = "optimized"
    XNNPACK = "xnnpack"
