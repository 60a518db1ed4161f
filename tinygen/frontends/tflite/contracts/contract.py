"""The demands of one kind of operator, as data."""

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
        inputs: alternatives for each operand; the last one stands for all that follow.
        outputs: the same of the results.
    """

    inputs: tuple[frozenset[str], ...]
    outputs: tuple[frozenset[str], ...]


def types(*rows: str) -> tuple[Types, ...]:
    """Combinations from rows such as "int8, int8|int4, int32 -> int8"."""
    return tuple(_parsed(row) for row in rows)


def alike(names: str, row: str) -> tuple[Types, ...]:
    """A row for each of the types (`float32|int8`), which stands where the row says T."""
    return tuple(_parsed(row.replace("T", name)) for name in names.split("|"))


def _parsed(row: str) -> Types:
    inputs, outputs = (
        tuple(frozenset(part.strip().split("|")) for part in side.split(",") if part.strip())
        for side in row.split("->")
    )
    return Types(inputs, outputs)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What LiteRT checks of an operator.

    Attributes:
        versions: the newest version that it registers; the oldest is 1.
        inputs: what operands are called, in order.
        outputs: how many results there are; None where an option says how many.
        types: combinations of their types; empty where any will do.
        needed: how many operands must be listed; None for all.
        endless: the last operand may be there any number of times.
        absent: operands that may be listed as -1.
        ranks: how many dimensions operands have, by name, where that matters.
        rules: all the rest.
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

    def role(self, index: int) -> str:
        """What operand `index` is called."""
        if self.endless and index >= len(self.inputs) - 1:
            return f"{self.inputs[-1]} {index - len(self.inputs) + 1}"
        return self.inputs[index]
