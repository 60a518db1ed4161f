"""Mean activations of filters, sample by sample: the data of criteria that use activations.

Ganesh 2022, section 3.3.2: one number per filter and image, the mean of the filter's activation over its height and
width, behind the activation function. The thesis indexes convolutions in sequence. Here a layer's input filters are the
channels that it reads, whichever layer computes them. In a chain of layers that is the same; at the end of residual
blocks, where the previous convolution has other channels, it is what the kernels [O, I] connect.

A layer's activation is its output after the following batch norm, activation functions and quantizers, as long as
nothing else reads the tensors in between. An addition ends the chain, since it includes other layers' outputs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tinygen.compress.masks import prunable
from tinygen.compress.surgery.tracing import Tracer, evaluating, refuse_decisions
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn.quantizers import ActivationQuantizer

_ELEMENTWISE = (ActivationQuantizer, nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity)
_FUNCTIONS = (
    torch.relu,
    functional.relu,
    functional.relu6,
    functional.leaky_relu,
    functional.hardtanh,
    torch.tanh,
    torch.sigmoid,
    functional.dropout,
    "relu",
    "relu_",
    "tanh",
    "sigmoid",
)


@dataclass(frozen=True, eq=False)
class Observed:
    """One layer, over N samples.

    Attributes:
        inputs: [N, I], what it reads; a dense layer behind a flattened image reads I single values.
        outputs: [N, O], its activations.
    """

    inputs: Tensor
    outputs: Tensor


class Observer:
    """Runs a network once over some samples and stores the inputs of every layer.

    Args:
        network: in evaluation mode while it is looked at; its modes are put back.
        images: [N, ...].

    Attributes:
        layers: names of convolutions and dense layers in the order in which they ran.

    Raises:
        UnsupportedError: torch.fx cannot trace the network, it has decisions, or a layer is used more than once.
        ModelError: no images.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        if not len(images):
            raise ModelError("no images to observe it with", where=type(network).__name__, fix="Give at least one.")
        refuse_decisions(network)
        self.network = network
        try:
            self.graph = Tracer().trace(network)
        except (fx.proxy.TraceError, TypeError) as error:
            fix = "Write forward() without branches on tensors."
            what = f"the network cannot be traced ({str(error).splitlines()[0]})"
            raise UnsupportedError(what, where=type(network).__name__, fix=fix) from error
        names = prunable(network)
        nodes = [node for node in self.graph.nodes if node.op == "call_module" and str(node.target) in names]
        self.nodes = {str(node.target): node for node in nodes}
        if len(self.nodes) < len(nodes):
            raise UnsupportedError("a layer is used more than once", where=type(network).__name__)
        self.layers = tuple(self.nodes)
        with evaluating(network):
            runner = _Runner(network, self.graph, self.nodes)
            runner.run(images)
        self._inputs = runner.inputs

    def observed(self, name: str) -> Observed:
        """Channel means of a layer; outputs are computed with the masks and weights that it has now."""
        return Observed(_channel_means(self._inputs[name]), self.outputs(name))

    def outputs(self, name: str) -> Tensor:
        """[N, O], the layer's activations with the masks and weights that it has now."""
        with evaluating(self.network):
            runner = fx.Interpreter(self.network, garbage_collect_values=False, graph=self.graph)
            chain = self._chain(self.nodes[name])
            runner.env = {chain[0].all_input_nodes[0]: self._inputs[name]}
            for node in chain:
                runner.env[node] = runner.run_node(node)
            return _channel_means(runner.env[chain[-1]])

    def readers(self, name: str) -> list[str]:
        """Layers that read the activation of this one, with nothing prunable in between."""
        found, waiting, seen = [], list(self.nodes[name].users), set()
        while waiting:
            node = waiting.pop(0)
            if node in seen:
                continue
            seen.add(node)
            if str(node.target) in self.nodes and node.op == "call_module":
                found.append(str(node.target))
            else:
                waiting += node.users
        return found

    def _chain(self, node: fx.Node) -> list[fx.Node]:
        """The layer and the modules that turn its output into its activation."""
        chain = [node]
        while len(chain[-1].users) == 1 and self._elementwise(following := next(iter(chain[-1].users))):
            chain.append(following)
        return chain

    def _elementwise(self, node: fx.Node) -> bool:
        if len(node.all_input_nodes) != 1:
            return False
        if node.op == "call_module":
            module = self.network.get_submodule(str(node.target))
            return isinstance(module, _ELEMENTWISE) or type(module).__module__ == nn.ReLU.__module__
        return node.op in ("call_function", "call_method") and node.target in _FUNCTIONS


class _Runner(fx.Interpreter):
    def __init__(self, network: nn.Module, graph: fx.Graph, layers: Collection[str]) -> None:
        super().__init__(network, graph=graph)
        self.layers = layers
        self.inputs: dict[str, Tensor] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in self.layers:
            # A following in-place activation function would overwrite the stored tensor.
            self.inputs[str(target)] = args[0].clone()
        return super().call_module(target, args, kwargs)


def _channel_means(values: Tensor) -> Tensor:
    """[N, C] of [N, C, ...]."""
    return values.flatten(2).mean(2) if values.dim() > 2 else values


def per_class(labels: Tensor, count: int, seed: int = 0) -> Tensor:
    """Indices of `count` samples of each class, drawn by chance; all of a class that has fewer."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        found.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(found)
