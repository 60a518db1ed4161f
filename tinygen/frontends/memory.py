"""A model that was made in memory: a Graph in the place of a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tinygen.ir.graph import Graph


@dataclass(frozen=True, eq=False)
class MemoryModel:
    """A graph that is built as a file would be.

    Attributes:
        graph: validated.
        name: what stands in comments and reports where a file's name would.
    """

    graph: Graph
    name: str

    def read_bytes(self) -> bytes:
        """Bytes that are equal only for equal graphs, as a file's are: what build ids are made from."""
        digest = hashlib.sha256()
        for tensor in self.graph.tensors.values():
            digest.update(repr((tensor.name, tensor.shape, tensor.encoding)).encode())
            digest.update(b"" if tensor.data is None else tensor.data.tobytes())
        digest.update(repr((self.graph.name, self.graph.ops, self.graph.inputs, self.graph.outputs)).encode())
        return digest.digest()
