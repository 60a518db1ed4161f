"""Converters of ATen operators, and their interface to a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.aten.builder import Builder, Constant, Value


@dataclass(frozen=True, eq=False)
class Call:
    """One ATen operator with its arguments.

    Attributes:
        target: "aten.conv2d", without the overload.
        where: module path and operator, for messages.
        arguments: by their names in the operator's schema; defaults filled in.
        shapes: of its outputs.
        sole_reader: whether nothing else reads the first argument.
        readers: operators that read the result, by their targets.
        taken: indices of the results that are read, of an operator with several.
        build: collects the graph.
    """

    target: str
    where: str
    arguments: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    sole_reader: bool
    build: Builder
    readers: frozenset[str] = frozenset()
    taken: frozenset[int] = frozenset()

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.arguments.get(name, default)

    def value(self, name: str) -> Value:
        """An argument that is computed at run time."""
        found = self.arguments[name]
        self.require(isinstance(found, Value), f"its argument '{name}' must depend on the input")
        assert isinstance(found, Value)
        return found

    def array(self, name: str) -> np.ndarray | None:
        """A constant argument; None if it is absent."""
        found = self.arguments[name]
        if found is None:
            return None
        self.require(isinstance(found, Constant), f"its argument '{name}' must be a constant")
        return np.asarray(found.array)

    def pair(self, name: str) -> tuple[int, int]:
        """Two integers, which may be given as one; () becomes the argument `kernel_size`."""
        found = self.arguments[name]
        found = [found] if isinstance(found, int) else list(found)
        if not found:
            return self.pair("kernel_size")
        return (found[0], found[0]) if len(found) == 1 else (found[0], found[1])

    def sides(self, name: str, rank: int, row: int) -> tuple[int, int]:
        """(rows, columns) from an argument; the value for the single row of a signal [N, C, L] is `row`."""
        found = self.pair(name)
        return found if rank == 4 else (row, found[0])

    def dim(self, name: str, rank: int) -> int:
        """A dimension, counted from the front."""
        found = self.arguments[name]
        self.require(isinstance(found, int) and -rank <= found < rank, f"its dimension '{name}' is {found}")
        return int(found) % rank

    def unsupported(self, what: str, fix: str = "") -> UnsupportedError:
        return UnsupportedError(what, where=self.where, fix=fix)

    def require(self, condition: bool, what: str, fix: str = "") -> None:
        """Raises UnsupportedError(what) unless `condition`."""
        if not condition:
            raise self.unsupported(what, fix)


Result = Value | list[Value]
Convert = Callable[[Call], Result]
CONVERTERS: dict[str, Convert] = {}


def converts(*targets: str) -> Callable[[Convert], Convert]:
    """Registers the converter of ATen operators, named without their overload."""

    def register(function: Convert) -> Convert:
        for target in targets:
            assert target not in CONVERTERS, target
            CONVERTERS[target] = function
        return function

    return register
