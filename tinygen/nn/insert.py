"""Puts quantizers where the data flow of a float network needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import fx, nn

from tinygen.nn.flow import LAYERS, RELUS, Flow, Site


@dataclass(frozen=True)
class Insertions:
    """Where quantizers go.

    Attributes:
        entries: of layers, in front of which one stands.
        wrapped: pools and flattenings, called once, in front of which one stands.
        nodes: others that read what has to be quantized; forward() is written anew for them.
    """

    entries: dict[nn.Module, Site]
    wrapped: dict[nn.Module, Site]
    nodes: dict[fx.Node, dict[fx.Node, Site]]

    @staticmethod
    def of(flow: Flow) -> Insertions:
        calls = Counter(flow.parts[str(node.target)] for node in flow.graph.nodes if node.op == "call_module")
        wanted: dict[nn.Module, Counter[Site]] = {}
        for node, needs in flow.needs.items():
            if node.op == "call_module":
                wanted.setdefault(flow.parts[str(node.target)], Counter()).update(needs.values())
        made = Insertions({}, {}, {})
        for node, needs in flow.needs.items():
            module = flow.parts[str(node.target)] if node.op == "call_module" else None
            site = next(iter(needs.values()))
            if module is None or wanted[module] != {site: calls[module]}:
                made.nodes[node] = needs
            elif isinstance(module, LAYERS):
                made.entries[module] = site
            elif calls[module] == 1 and not isinstance(module, RELUS) and not any(True for _ in module.parameters()):
                made.wrapped[module] = site
            else:
                made.nodes[node] = needs
        return made


def rewritten(
    flow: Flow, nodes: Mapping[fx.Node, Mapping[fx.Node, Site]], quantizer_of: Callable[[Site], nn.Module]
) -> fx.GraphModule:
    """The network with quantizers in front of `nodes`, and in place of calls of relu."""
    calls = set(flow.calls)
    made: dict[tuple[fx.Node, nn.Module], fx.Node] = {}
    for node, needs in nodes.items():
        for source, site in needs.items():
            quantizer = quantizer_of(site)
            if (source, quantizer) not in made:
                made[source, quantizer] = _call(flow, quantizer, source, source, f"{source.name}_quantizer")
            node.replace_input_with(source, made[source, quantizer])
    for node in list(flow.graph.nodes):
        node.type = None  # annotations that are strings cannot be saved
        # What the trace has seen of `self.training` is a constant in it; a module follows its own mode.
        module = quantizer_of(node) if node in calls else flow.modules.get(node)
        if module is not None and node.op != "call_module" and (node in calls or isinstance(module, nn.Dropout)):
            node.replace_all_uses_with(_call(flow, module, node.all_input_nodes[0], node, node.name))
            flow.graph.erase_node(node)
    result = fx.GraphModule(flow.network, flow.graph, type(flow.network).__name__)
    for path, module in result.named_modules():
        module.training = flow.network.get_submodule(path).training
    return result


def _call(flow: Flow, module: nn.Module, x: fx.Node, behind: fx.Node, name: str) -> fx.Node:
    """A call of a module, behind a node of the trace."""
    paths = {part: path for path, part in flow.network.named_modules()}
    if module not in paths:
        while hasattr(flow.network, name):
            name = f"{name}_"
        flow.network.add_module(name, module.train(flow.network.training))
    with flow.graph.inserting_after(behind):
        return flow.graph.call_module(paths.get(module, name), (x,))
