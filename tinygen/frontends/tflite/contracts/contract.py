"""The requirements of one kind of operator, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tinygen.frontends.tflite.registry import Operator

Rule = Callable[[Operator], str]
"""What is wrong with an operator, a sentence without a full stop; "" where nothing is."""


@dataclass(frozen=True)
class Types:
    """A combination of tensor types that LiteRT has a kernel for.

    Attributes:
        inputs: alternative types of each operand; the last entry applies to all further operands.
        outputs: alternative types of each result.
    """

    inputs: tuple[frozenset[str], ...]
    outputs: tuple[frozenset[str], ...]


def types(*rows: str) -> tuple[Types, ...]:
    """Combinations from rows such as "int8, int8|int4, int32 -> int8"."""
    return tuple(_parsed(row) for row in rows)


def alike(names: str, row: str) -> tuple[Types, ...]:
    """A combination for each of the types (`float32|int8`), which replaces T in the row."""
    return tuple(_parsed(row.replace("T", name)) for name in names.split("|"))


def _parsed(row: str) -> Types:
    inputs, outputs = (
        tuple(frozenset(part.strip().split("|")) for part in side.split(",") if part.strip())
        for side in row.split("->")
    )
    return Types(inputs, outputs)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """LiteRT's checks of an operator.

    Attributes:
        versions: the newest registered version.
        inputs: names of the operands, in order.
        outputs: number of results; None if an option gives it.
        types: supported combinations of types; empty if all are supported.
        needed: number of operands that must be listed; None for all.
        endless: whether the last operand may be repeated.
        absent: operands that may be listed as -1.
        ranks: allowed numbers of dimensions, by the operand's name.
        rules: all other checks.
        oldest: the oldest registered version.
    """

    versions: int
    inputs: tuple[str, ...]
    outputs: int | None = 1
    types: tuple[Types, ...] = ()
    needed: int | None = None
    endless: bool = False
    absent: frozenset[str] = frozenset()
    ranks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    oldest: int = 1

    def role(self, index: int) -> str:
        """Name of operand `index`."""
        if self.endless and index >= len(self.inputs) - 1:
            return f"{self.inputs[-1]} {index - len(self.inputs) + 1}"
        return self.inputs[index]
