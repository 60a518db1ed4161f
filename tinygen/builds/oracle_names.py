"""Names of LiteRT's kernel sets, for the command line: a separate module, as running them needs NumPy."""

from __future__ import annotations

from enum import StrEnum


class Oracle(StrEnum):
    """LiteRT's kernel sets; their codes may differ from each other."""

    REF = "ref"
    OPTIMIZED = "optimized"
    XNNPACK = "xnnpack"
