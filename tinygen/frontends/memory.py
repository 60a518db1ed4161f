"""A model in memory: a Graph or a Network instead of a file."""

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
    """A hash to which bytes are added."""

    def update(self, content: bytes, /) -> None: ...


@dataclass(frozen=True, eq=False)
class MemoryModel:
    """A model that is built as a file would be.

    Attributes:
        content: validated.
        name: used in comments and reports instead of a file's name.
    """

    content: Graph | Network
    name: str

    @property
    def graph(self) -> Graph:
        """The graph.

        Raises:
            ModelError: the network has several graphs.
        """
        return only_graph(self.network, self.name)

    @property
    def network(self) -> Network:
        return self.content if isinstance(self.content, Network) else Network.of(self.content)

    def read_bytes(self) -> bytes:
        """A digest that identifies the graphs, as a file's bytes do; build ids are made from it."""
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
    """The graph of a network that is not switchable.

    Raises:
        ModelError: the network is switchable, so it has several graphs.
    """
    if network.is_switchable:
        raise ModelError(
            f"can be switched ({', '.join(network.names)}): one graph is not all of it",
            where=where,
            fix="tinygen build, run and verify take it whole; tinygen bench --suite switchable compares switches. "
            "In Python: tinygen.frontends.load.load_network.",
        )
    return network.first
