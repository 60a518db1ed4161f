"""Outputs of layers after the following batch norm and activation, and outputs of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx, nn

from tinygen.compress.masks import prunable
from tinygen.compress.surgery.rules import VECTORS, is_activation
from tinygen.compress.surgery.tracing import Example, trace
from tinygen.errors import ModelError
from tinygen.nn.fire_together import MaskedConv2d
from tinygen.nn.gated import GatedConv2d
from tinygen.nn.mixed import CondConv2d


class Taps:
    """Runs a network and returns tensors inside it.

    A convolution or dense layer is tapped behind the batch norms and the one activation that follow it, as long as
    nothing else reads what lies between; that of a gated or masked convolution, and any other module, at its output.

    Args:
        network: the one whose parameters are used, in the mode it is in.
        example: its input, or inputs, with a batch in front.
        names: modules; all convolutions and dense layers that are used, unless given.

    Attributes:
        names: in the order of use.
        norms: by layer, the name of the batch norm between it and its tap.

    Raises:
        ModelError: a module is not used, or the network does not take the example.
        UnsupportedError: the network cannot be traced.
    """

    def __init__(self, network: nn.Module, example: Example, names: Sequence[str] | None = None) -> None:
        self.network = network
        self.traced, _ = trace(network, example)
        self.norms: dict[str, str] = {}
        layers = prunable(network)
        found: dict[fx.Node, str] = {}
        for name in layers if names is None else names:
            node = self._behind(name) if name in layers else self._end(name)
            if node is not None:
                found[node] = name
            elif names is not None:
                raise ModelError("the network does not call it", where=name, fix="Name modules that are used.")
        self._nodes = {node: found[node] for node in self.traced.graph.nodes if node in found}
        self.names = list(self._nodes.values())

    def run(self, *inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """The network's output, and the tensors at the taps."""
        reader = _Reader(self.traced, self._nodes)
        return reader.run(*inputs), reader.seen

    def _behind(self, name: str) -> fx.Node | None:
        """The tap of a layer; of several calls, of the last."""
        called = self._gate_of(name) or name
        calls = [node for node in self.traced.graph.nodes if node.op == "call_module" and node.target == called]
        if not calls:
            return None
        node = calls[-1]
        while len(node.users) == 1:
            after = next(iter(node.users))
            part = self.network.get_submodule(str(after.target)) if after.op == "call_module" else None
            if isinstance(part, VECTORS) and not isinstance(part, nn.PReLU):
                self.norms.setdefault(name, str(after.target))
            elif not is_activation(after, part):
                break
            node = after
            if is_activation(after, part):
                break
        return node

    def _gate_of(self, name: str) -> str:
        """The gated or masked convolution whose filters a layer's are, as `rules` has them; "" for none."""
        above, _, part = name.rpartition(".")
        gate = self.network.get_submodule(above)
        if isinstance(gate, MaskedConv2d) and part == "convolution":
            self.norms.setdefault(name, f"{above}.norm")
            return above
        if not isinstance(gate, GatedConv2d):
            return ""
        deciding = "head" if isinstance(gate.convolution, CondConv2d) else "convolution"
        return above if part == deciding else ""

    def _end(self, name: str) -> fx.Node | None:
        """The last node inside a module whose value is used outside."""
        if name not in dict(self.network.named_modules()):
            raise ModelError("no such module", where=name, fix="Use names of network.named_modules().")

        def inside(node: fx.Node) -> bool:
            return name in node.meta.get("nn_module_stack", {})

        ends = [
            node for node in self.traced.graph.nodes if inside(node) and any(not inside(user) for user in node.users)
        ]
        return ends[-1] if ends else None


class _Reader(fx.Interpreter):
    def __init__(self, traced: fx.GraphModule, nodes: dict[fx.Node, str]) -> None:
        super().__init__(traced)
        self.nodes = nodes
        self.seen: dict[str, Tensor] = {}
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.nodes:
            self.seen[self.nodes[n]] = value
        return value
