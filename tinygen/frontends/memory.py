"""A model that was made in memory: a Graph or a Network in the place of a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from tinygen.errors import ModelError
from tinygen.ir.branch import all_graphs
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.base import later_fields


class Digest(Protocol):
    """What bytes are added to."""

    def update(self, content: bytes, /) -> None: ...


@dataclass(frozen=True, eq=False)
class MemoryModel:
    """What is built as a file would be.

    Attributes:
        content: validated.
        name: what stands in comments and reports where a file's name would.
    """

    content: Graph | Network
    name: str

    @property
    def graph(self) -> Graph:
        """The graph.

        Raises:
            ModelError: there are several.
        """
        return only_graph(self.network, self.name)

    @property
    def network(self) -> Network:
        return self.content if isinstance(self.content, Network) else Network.of(self.content)

    def read_bytes(self) -> bytes:
        """Bytes that are equal only for equal graphs, as a file's are: what build ids are made from."""
        digest = hashlib.sha256()
        for switch in self.network:
            for graph in all_graphs(switch.graph):
                _add_graph(digest, graph)
        if isinstance(self.content, Network):
            digest.update(repr((self.content.name, self.content.names)).encode())
        return digest.digest()


def _add_graph(digest: Digest, graph: Graph) -> None:
    for tensor in graph.tensors.values():
        digest.update(repr((tensor.name, tensor.shape, tensor.encoding)).encode())
        digest.update(b"" if tensor.data is None else tensor.data.tobytes())
    digest.update(repr((graph.name, graph.ops, graph.inputs, graph.outputs)).encode())
    for op in graph.ops:
        digest.update(repr(later_fields(op)).encode() if later_fields(op) else b"")
    for state in graph.states:
        named = (state.tensor, state.update, *([state.threshold] if state.threshold else []))
        digest.update(repr(named).encode() + state.initial.tobytes())


def only_graph(network: Network, where: str) -> Graph:
    """The graph of a network that cannot be switched.

    Raises:
        ModelError: it can; one graph is not all of it.
    """
    if network.is_switchable:
        raise ModelError(
            f"can be switched ({', '.join(network.names)}): one graph is not all of it",
            where=where,
            fix="tinygen build, run and verify take it whole; tinygen bench --suite switchable compares switches. "
            "In Python: tinygen.frontends.load.load_network.",
        )
    return network.first
