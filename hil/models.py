"""Whole models: the digits that come with tinygen, what was named, and small networks of other kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.switchable import small_network
from tinygen.demo import MODEL
from tinygen.frontends.memory import MemoryModel

DIGITS = "digits"


@dataclass(frozen=True, eq=False)
class Whole:
    """A model of the suite.

    Attributes:
        options: of its build, beside board and toolchain.
    """

    name: str
    model: Path | MemoryModel
    options: dict[str, Any] = field(default_factory=dict)


def models_of(named: Sequence[Path]) -> list[Whole]:
    """The digits, whole and in stripes; a network of six switches; one that decides; and the named ones."""
    return [
        Whole(DIGITS, MODEL),
        Whole("stripes", MODEL, {"stream": True}),
        Whole("switches", MemoryModel(small_network("switches"), "six switches (random weights)")),
        *_deciding(),
        *(Whole(path.stem, path) for path in named),
    ]


def _deciding() -> list[Whole]:
    try:
        from tests.support.gates import exits
    except ImportError:  # which makes its layers with the package ai-edge-litert
        return []
    return [Whole("exits", MemoryModel(exits(), "two early exits (random weights)"))]
