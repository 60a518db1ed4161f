"""Which constants the switches of a network have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.plan import Constant, Field
from tinygen.lowering.program import all_constants

ArrayKey = tuple[str, tuple[Field, ...], bytes]
"""Type and content: what is equal in both is one array in the C."""


def array_key(constant: Constant) -> ArrayKey:
    return constant.data.dtype.name, constant.fields, constant.data.tobytes()


def weight_bytes(network: NetworkProgram) -> int:
    """Bytes of all arrays of constants in the C, each counted once."""
    return sum(len(content) for _, _, content in array_users(network))


def array_users(network: NetworkProgram) -> dict[ArrayKey, tuple[str, ...]]:
    """Names of the switches that read each array, in the network's order."""
    users: dict[ArrayKey, dict[str, None]] = {}
    for switch in network:
        for step in switch.program.layers:
            for constant in all_constants(step):
                users.setdefault(array_key(constant), {})[switch.name] = None
    return {key: tuple(names) for key, names in users.items()}


@dataclass(frozen=True)
class Shares:
    """Bytes that only one switch uses, and bytes that others use too.

    Attributes:
        own, shared: bytes.
    """

    own: int
    shared: int


def shares(uses: Sequence[Mapping[str, int]]) -> tuple[Shares, ...]:
    """For each switch: own and shared bytes of the symbols that it uses (bytes by symbol)."""
    count: dict[str, int] = {}
    for used in uses:
        for name in used:
            count[name] = count.get(name, 0) + 1
    return tuple(
        Shares(
            sum(size for name, size in used.items() if count[name] == 1),
            sum(size for name, size in used.items() if count[name] > 1),
        )
        for used in uses
    )
