"""Thresholds: codes that gates compare with, which the caller may set between invocations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Encoding
from tinygen.ir.graph import Graph
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True)
class Threshold:
    """One, of a graph.

    Attributes:
        name: upper case in the C; letters, digits and underscores.
        tensor: what operators read.
        value: its code in the graph as it stands.
        low, high: the codes that it may have.
    """

    name: str
    tensor: Tensor
    value: int
    low: int
    high: int


def new_threshold(name: str, encoding: Encoding, value: int) -> tuple[Tensor, State]:
    """A tensor of one element that operators compare with, and the state that makes it settable.

    Both belong to the whole graph; branches take the tensor as an input, as they do every value from outside.

    Args:
        name: see `Threshold`; it names the tensor, too.
        encoding: of what it is compared with.
        value: the code that it has until it is set.
    """
    tensor = Tensor(name, (1,), encoding)
    return tensor, State(name, name, np.full(1, value, encoding.dtype), threshold=name)


def thresholds_of(graph: Graph) -> tuple[Threshold, ...]:
    """Those of a valid graph, in order."""
    found = []
    for state in graph.states:
        if state.threshold:
            tensor = graph.tensors[state.tensor]
            low, high = tensor.code_range
            # The C sets them as int32_t.
            low, high = max(low, -(2**31)), min(high, 2**31 - 1)
            found.append(Threshold(state.threshold, tensor, int(state.initial.reshape(())), low, high))
    return tuple(found)


def with_thresholds(graph: Graph, values: Mapping[str, int]) -> Graph:
    """The graph as if thresholds had been set; names in upper or lower case.

    Raises:
        TinygenError: there is no such threshold, or it cannot have that code.
    """
    known = thresholds_of(graph)
    chosen = {checked(known, name, value).name: value for name, value in values.items()}
    states = tuple(
        replace(state, initial=np.full_like(state.initial, chosen[state.threshold]))
        if state.threshold in chosen
        else state
        for state in graph.states
    )
    return replace(graph, states=states) if chosen else graph


class Named(Protocol):
    """A threshold, or what a file says of one."""

    @property
    def name(self) -> str: ...

    @property
    def low(self) -> int: ...

    @property
    def high(self) -> int: ...


_Named = TypeVar("_Named", bound=Named)


def checked(known: Sequence[_Named], name: str, value: int) -> _Named:
    """The threshold of that name, in upper or lower case, which can have that code.

    Raises:
        TinygenError: there is none, or it cannot.
    """
    found = next((one for one in known if one.name.upper() == name.upper()), None)
    if found is None:
        names = ", ".join(one.name for one in known)
        raise TinygenError(
            f"there is no threshold '{name}'", fix=f"There are {names}." if names else "The model has no thresholds."
        )
    if not found.low <= value <= found.high:
        raise TinygenError(f"threshold {found.name} cannot be {value}: its codes are {found.low} to {found.high}")
    return found
