"""Thresholds: codes that gates compare with, which the caller may set between invocations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Encoding
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network, Switch
from tinygen.ir.state import State
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True)
class Threshold:
    """A threshold of a graph.

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

    Both belong to the top-level graph; branches take the tensor as an input.

    Args:
        name: see `Threshold`; it names the tensor, too.
        encoding: of what it is compared with.
        value: its code until the caller sets it.
    """
    tensor = Tensor(name, (1,), encoding)
    return tensor, State(name, name, np.full(1, value, encoding.dtype), threshold=name)


def thresholds_of(graph: Graph) -> tuple[Threshold, ...]:
    """The thresholds of a valid graph, in order."""
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
    """The graph with thresholds set; names in upper or lower case.

    Raises:
        TinygenError: there is no such threshold, or it cannot have that code.
    """
    return _with_codes(graph, assigned({"": thresholds_of(graph)}, values)[""])


def network_with_thresholds(network: Network, values: Mapping[str, int]) -> Network:
    """The network with thresholds set in every switch; see `assigned`."""
    known = {switch.name if network.is_switchable else "": thresholds_of(switch.graph) for switch in network}
    switches = (
        Switch(one.name, _with_codes(one.graph, chosen))
        for one, chosen in zip(network, assigned(known, values).values(), strict=True)
    )
    return replace(network, switches=tuple(switches))


def _with_codes(graph: Graph, chosen: Mapping[str, int]) -> Graph:
    states = tuple(
        replace(state, initial=np.full_like(state.initial, chosen[state.threshold]))
        if state.threshold in chosen
        else state
        for state in graph.states
    )
    return replace(graph, states=states) if chosen else graph


class Named(Protocol):
    """What a threshold has: a name and a range of codes."""

    @property
    def name(self) -> str: ...

    @property
    def low(self) -> int: ...

    @property
    def high(self) -> int: ...


_Named = TypeVar("_Named", bound=Named)


def full_name(switch: str, name: str) -> str:
    """Name of a switch's threshold in C and on the serial line; `switch` is "" if the model has no switches."""
    return f"{switch}_{name}".upper() if switch else name.upper()


def assigned(known: Mapping[str, Sequence[_Named]], values: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Codes of thresholds, by switch and by the threshold's name in that switch.

    Args:
        known: thresholds by switch; the key is "" if the model has no switches.
        values: codes by name, in upper or lower case: the name of `full_name`, or the threshold's own name, which sets
            it in every switch that has it and is not named in full.

    Raises:
        TinygenError: there is no such threshold, or it cannot have that code.
    """
    found: dict[str, dict[str, int]] = {switch: {} for switch in known}
    everywhere: list[tuple[str, _Named, int]] = []
    one_by_one: list[tuple[str, _Named, int]] = []
    for name, value in values.items():
        full = [(switch, one) for switch, one in _each(known) if full_name(switch, one.name) == name.upper()]
        own = [(switch, one) for switch, one in _each(known) if one.name.upper() == name.upper()]
        if not full and not own:
            names = ", ".join(full_name(switch, one.name) for switch, one in _each(known))
            fix = f"There are {names}." if names else "The model has no thresholds."
            raise TinygenError(f"there is no threshold '{name}'", fix=fix)
        (one_by_one if full else everywhere).extend((switch, one, value) for switch, one in full or own)
    for switch, one, value in (*everywhere, *one_by_one):
        found[switch][one.name] = value
    for switch, one in _each(known):
        value = found[switch].get(one.name, one.low)
        if not one.low <= value <= one.high:
            what = f"threshold {full_name(switch, one.name)} cannot be {value}"
            raise TinygenError(f"{what}: its codes are {one.low} to {one.high}")
    return found


def _each(known: Mapping[str, Sequence[_Named]]) -> Iterator[tuple[str, _Named]]:
    return ((switch, one) for switch, ones in known.items() for one in ones)
