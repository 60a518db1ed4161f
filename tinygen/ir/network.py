"""A network that can be run in several ways: one graph per switch, all with the same inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tinygen.errors import ModelError
from tinygen.ir.branch import Branch, all_graphs
from tinygen.ir.encodings import ChannelList
from tinygen.ir.graph import Graph
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.tensor import Tensor

_LIST_MAKERS = (Branch, PositiveChannels, TopK)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Switch:
    """One way to run a network.

    Attributes:
        name: lower-case letters, digits and "_", as used in C: "w2a4", "w8a8_x0_5".
        graph: what the network computes in this switch.
    """

    name: str
    graph: Graph


@dataclass(frozen=True)
class Network:
    """The model of one firmware.

    Each graph has states of its own: another switch has seen other frames, and its codes have other scales. So states
    are reset whenever a switch is chosen.

    Attributes:
        name: a C identifier; every symbol of the generated code starts with it.
        switches: at least one; the first is the one that a board starts with. A network that has only one cannot be
            switched, and its C knows nothing of switches.
    """

    name: str
    switches: tuple[Switch, ...]

    @staticmethod
    def of(graph: Graph) -> Network:
        """A network with a single switch."""
        return Network(graph.name, (Switch("only", graph),))

    @property
    def is_switchable(self) -> bool:
        return len(self.switches) > 1

    @property
    def first(self) -> Graph:
        """The graph that a board starts with."""
        return self.switches[0].graph

    def __iter__(self) -> Iterator[Switch]:
        return iter(self.switches)

    def switch(self, name: str) -> Switch:
        """The switch of that name.

        Raises:
            ModelError: there is none.
        """
        for switch in self.switches:
            if switch.name == name:
                return switch
        raise ModelError(f"there is no switch '{name}'", where=self.name, fix=f"Switches: {', '.join(self.names)}.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(switch.name for switch in self.switches)

    def validate(self) -> None:
        """Checks every graph, and that all have inputs and outputs of the same shape, type and encoding.

        Only the scales of outputs may differ between switches, since each switch has its own weights.

        Raises:
            ModelError, UnsupportedError: a graph is invalid, or switches do not match.
        """
        if not self.switches:
            raise ModelError("a network without switches", where=self.name)
        if len(set(self.names)) < len(self.names):
            raise ModelError(f"two switches have the same name ({', '.join(self.names)})", where=self.name)
        for switch in self.switches:
            if not _NAME.fullmatch(switch.name):
                raise ModelError(
                    f"switch '{switch.name}' is no name in C",
                    where=self.name,
                    fix="Use a-z, 0-9 and _, a letter first.",
                )
            switch.graph.validate()
            _check_lists(switch.graph)
            _check_ports(self, switch)


def _check_lists(graph: Graph) -> None:
    """Lists of channels come from gates, directly or through branches: their indices become addresses."""
    for inner in all_graphs(graph):
        made = {name for op in inner.ops if isinstance(op, _LIST_MAKERS) for name in op.outputs}
        made |= set(() if inner is graph else inner.inputs)
        for name, tensor in inner.tensors.items():
            if isinstance(tensor.encoding, ChannelList) and name not in made:
                raise ModelError(f"'{name}' is a list of channels, which only a gate makes", where=inner.name)


def _check_ports(network: Network, switch: Switch) -> None:
    first, graph = network.first, switch.graph
    for kind, ours, theirs in (("input", graph.inputs, first.inputs), ("output", graph.outputs, first.outputs)):
        if len(ours) != len(theirs):
            raise ModelError(
                f"has {len(ours)} {kind}s, '{network.switches[0].name}' has {len(theirs)}",
                where=f"{network.name}, switch '{switch.name}'",
            )
        for a, b in zip(ours, theirs, strict=True):
            x, y = graph.tensors[a], first.tensors[b]
            same = x.encoding == y.encoding if kind == "input" else _holds_same(x, y)
            if x.shape != y.shape or not same:
                raise ModelError(
                    f"{kind} '{a}' is {x.describe()}, in '{network.switches[0].name}' {y.describe()}",
                    where=f"{network.name}, switch '{switch.name}'",
                    fix="All switches take the same input, and give outputs of one shape and type.",
                )


def _holds_same(x: Tensor, y: Tensor) -> bool:
    return type(x.encoding) is type(y.encoding) and x.memory_dtype == y.memory_dtype
