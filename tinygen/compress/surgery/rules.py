"""How operators map channels: one rule for each known kind; for every other, all channels stay."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from tinygen.compress.surgery.channels import ChannelMap, LayerChannels, Numbers
from tinygen.compress.surgery.tracing import Example, trace
from tinygen.nn.fire_together import MaskedConv2d
from tinygen.nn.gated import GatedConv2d
from tinygen.nn.mixed import CondConv2d
from tinygen.nn.quantizers import ActivationQuantizer

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Softplus,
    nn.Softsign,
    nn.Hardshrink,
    nn.Softshrink,
    nn.Tanhshrink,
    nn.LogSigmoid,
    nn.Threshold,
    ActivationQuantizer,
)
_SPATIAL = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Dropout2d,
    nn.ZeroPad2d,
    nn.ConstantPad2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
    nn.Upsample,
)
VECTORS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.PReLU)

ELEMENTWISE = (*ACTIVATIONS, nn.Dropout, nn.Identity)

_ACTIVATION_CALLS = {
    "relu",
    "relu_",
    "relu6",
    "hardtanh",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "mish",
    "sigmoid",
    "tanh",
    "hardsigmoid",
    "hardswish",
    "softplus",
    "clamp",
    "clip",
}
_ELEMENTWISE_CALLS = _ACTIVATION_CALLS | {
    "abs",
    "neg",
    "exp",
    "sqrt",
    "square",
    "dropout",
    "contiguous",
    "clone",
    "float",
    "double",
    "detach",
}
_SPATIAL_CALLS = {
    "max_pool2d",
    "boolean_dispatch",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "dropout2d",
    "interpolate",
}
_BINARY_CALLS = {"add", "iadd", "add_", "sub", "isub", "sub_", "mul", "imul", "mul_", "truediv", "div", "maximum"}
_CONCATENATIONS = {"cat", "concat", "concatenate"}
_MEANS = {"mean", "amax", "amin"}


def is_activation(node: fx.Node, part: nn.Module | None) -> bool:
    """Whether a node applies an activation function, or an activation quantizer; `part` is the module it calls."""
    if part is not None:
        return isinstance(part, (*ACTIVATIONS, nn.PReLU))
    return node.op in ("call_function", "call_method") and _name(node.target) in _ACTIVATION_CALLS


def channel_map(network: nn.Module, example: Example) -> ChannelMap:
    """The channels of a network.

    Args:
        network: any that torch.fx can trace.
        example: its input, or inputs, with a batch in front.

    Raises:
        UnsupportedError: the network cannot be traced.
        ModelError: it does not take the example.
    """
    traced, values = trace(network, example)
    return _Walk(network, values).run(traced.graph)


class _Walk:
    def __init__(self, network: nn.Module, values: dict[fx.Node, Any]) -> None:
        self.parts = dict(network.named_modules())
        self.values = values
        self.numbers = Numbers()
        self.found = ChannelMap()
        self.labels: dict[fx.Node, np.ndarray] = {}
        self.opaque: list[str] = []

    def run(self, graph: fx.Graph) -> ChannelMap:
        for node in graph.nodes:
            self._node(node)
        for name in self.opaque:
            # Also called in another way elsewhere, where its channels are not followed.
            if name in self.found.layers:
                layer = self.found.layers[name]
                self.numbers.fix([*layer.inputs, *layer.outputs], f"{name} is called in ways that are not followed")
            elif name in self.found.vectors:
                self.numbers.fix(self.found.vectors[name], f"{name} is called in ways that are not followed")
        resolve, found = self.numbers.resolve, self.found

        def resolved(layer: LayerChannels) -> LayerChannels:
            return replace(layer, inputs=resolve(layer.inputs), outputs=resolve(layer.outputs))

        return ChannelMap(
            {name: resolved(layer) for name, layer in found.layers.items()},
            {name: resolve(numbers) for name, numbers in found.vectors.items()},
            self.numbers.reasons(),
            {name: resolve(numbers) for name, numbers in found.gates.items()},
            {name: resolved(layer) for name, layer in found.mixed.items()},
            {name: resolved(layer) for name, layer in found.masked.items()},
        )

    def _node(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._fresh(node, "it belongs to the network's input")
        elif node.op == "output":
            self._fix_arguments(node, "the network gives it back")
        elif not _asks_for_size(node):
            labels = self._module(node) if node.op == "call_module" else self._call(node)
            if labels is None:
                self._fix_arguments(node, f"{node.name} ({_name(node.target)}) may mix channels")
                self._fresh(node, f"it comes from {node.name} ({_name(node.target)})")
            else:
                self.labels[node] = labels

    def _fresh(self, node: fx.Node, reason: str) -> None:
        value = self.values[node]
        if isinstance(value, Tensor) and value.dim() > 1:
            self.labels[node] = self.numbers.new(value.shape[1], reason)

    def _fix_arguments(self, node: fx.Node, reason: str) -> None:
        for source in node.all_input_nodes:
            if source in self.labels:
                self.numbers.fix(self.labels[source], reason)

    def _rank(self, node: fx.Node) -> int:
        value = self.values[node]
        return value.dim() if isinstance(value, Tensor) else 0

    def _module(self, node: fx.Node) -> np.ndarray | None:
        name = str(node.target)
        labels = self._known_module(node, name, self.parts[name])
        if labels is None:
            self.opaque.append(name)
        return labels

    def _known_module(self, node: fx.Node, name: str, module: nn.Module) -> np.ndarray | None:
        source = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        if not isinstance(source, fx.Node) or source not in self.labels:
            return None
        labels, rank = self.labels[source], self._rank(source)
        if (isinstance(module, nn.Conv2d) and rank == 4) or (isinstance(module, nn.Linear) and rank == 2):
            return self._layer(name, module, labels)
        if isinstance(module, GatedConv2d) and rank == 4:
            return self._gated(name, module, labels)
        if isinstance(module, MaskedConv2d) and rank == 4:
            return self._masked(name, module, labels)
        if isinstance(module, CondConv2d) and rank == 4:
            return self._mixed(name, module, labels)
        if isinstance(module, VECTORS):
            return self._vector(name, module, labels)
        if isinstance(module, nn.Flatten):
            return self._flatten(source, module.start_dim, module.end_dim)
        if isinstance(module, ELEMENTWISE) or (isinstance(module, _SPATIAL) and rank == 4):
            return labels
        return None

    def _layer(self, name: str, module: nn.Module, labels: np.ndarray) -> np.ndarray:
        if name in self.found.layers:
            self.numbers.unite(labels, self.found.layers[name].inputs)
            return self.found.layers[name].outputs
        groups = module.groups if isinstance(module, nn.Conv2d) else 1
        outputs = self.numbers.new(len(module.weight))
        layer = LayerChannels(labels, outputs, groups)
        self.found.layers[name] = layer
        if layer.depthwise:
            self.numbers.unite(outputs, np.repeat(labels, len(outputs) // groups))
        elif groups > 1:
            # Channels are removed from every group alike, so that groups keep one size.
            for numbers in (labels, outputs):
                rows = numbers.reshape(groups, -1)
                self.numbers.unite(rows[1:].flat, np.broadcast_to(rows[0], rows[1:].shape).flat)
        return outputs

    def _gated(self, name: str, module: GatedConv2d, labels: np.ndarray) -> np.ndarray:
        """Filters and their gates are one; the filters decide, or the head where they are mixed of experts."""
        inner, convolution = f"{name}.convolution", module.convolution
        if name in self.found.gates:
            self.numbers.unite(labels, self.found.layers[f"{name}.head"].inputs)
            return self.found.gates[name]
        if isinstance(convolution, CondConv2d):
            outputs = self._mixed(inner, convolution, labels, self.numbers.new(convolution.out_channels))
        else:
            outputs = self._layer(inner, convolution, labels)
        self.found.layers[f"{name}.head"] = LayerChannels(labels, outputs, follows=inner in self.found.layers)
        self.found.vectors[f"{name}.norm"] = self.found.gates[name] = outputs
        return outputs

    def _masked(self, name: str, module: MaskedConv2d, labels: np.ndarray) -> np.ndarray:
        """Filters and the rows of their predictor are one; the filters decide."""
        outputs = self._layer(f"{name}.convolution", module.convolution, labels)
        self.found.vectors[f"{name}.norm"] = outputs
        self.found.masked.setdefault(name, LayerChannels(labels, outputs))
        return outputs

    def _mixed(
        self, name: str, module: CondConv2d, labels: np.ndarray, outputs: np.ndarray | None = None
    ) -> np.ndarray:
        """Its inputs may go, and outputs that are given; else nothing that criteria know says which go."""
        if name in self.found.mixed:
            self.numbers.unite(labels, self.found.mixed[name].inputs)
            return self.found.mixed[name].outputs
        if outputs is None:
            outputs = self.numbers.new(module.out_channels, f"{name} mixes its filters of experts")
        experts = self.numbers.new(len(module.weight), f"they are the experts of {name}")
        self.found.layers[f"{name}.router"] = LayerChannels(labels, experts)
        self.found.mixed[name] = LayerChannels(labels, outputs)
        return outputs

    def _vector(self, name: str, module: nn.Module, labels: np.ndarray) -> np.ndarray:
        if name in self.found.vectors:
            self.numbers.unite(labels, self.found.vectors[name])
        elif not isinstance(module, nn.PReLU) or module.num_parameters > 1:
            self.found.vectors[name] = labels
        return labels

    def _flatten(self, source: fx.Node, start: int, end: int) -> np.ndarray | None:
        shape = self.values[source].shape
        if start != 1 or end not in (-1, len(shape) - 1):
            return None
        return np.repeat(self.labels[source], math.prod(shape[2:]))

    def _call(self, node: fx.Node) -> np.ndarray | None:
        name = _name(node.target)
        sources = [argument for argument in node.args if isinstance(argument, fx.Node) and argument in self.labels]
        if node.op == "get_attr" or (not sources and name not in _CONCATENATIONS):
            return None
        if name in _CONCATENATIONS:
            return self._concatenation(node)
        if name in _BINARY_CALLS and len(sources) == 2:
            return self._binary(node, *sources)
        source = sources[0]
        if len(node.all_input_nodes) > 1 and name not in ("view", "reshape"):
            return None
        return self._single(node, name, source)

    def _single(self, node: fx.Node, name: str, source: fx.Node) -> np.ndarray | None:
        """A call with one tensor."""
        labels, rank = self.labels[source], self._rank(source)
        if name in _BINARY_CALLS or name in _ELEMENTWISE_CALLS:
            return labels if self._rank(node) == rank and _scalars(node) else None
        if name in _SPATIAL_CALLS:
            return labels if rank == 4 and self._rank(node) == 4 else None
        if name == "pad":
            return labels if rank == 4 and len(_argument(node, 1, "pad", ())) <= 4 else None
        if name == "flatten":
            return self._flatten(source, _argument(node, 1, "start_dim", 0), _argument(node, 2, "end_dim", -1))
        if name in ("view", "reshape") and _strings_together(node):
            return self._flatten(source, 1, -1)
        if name in (*_MEANS, "squeeze"):
            axes = _argument(node, 1, "dim", None)
            axes = (axes,) if isinstance(axes, int) else axes
            return labels if axes and all(axis % rank > 1 for axis in axes) else None
        return None

    def _binary(self, node: fx.Node, first: fx.Node, second: fx.Node) -> np.ndarray | None:
        if self._rank(first) != self._rank(second) or len(node.all_input_nodes) != len({first, second}):
            return None
        a, b = self.labels[first], self.labels[second]
        if len(a) != len(b):
            narrow, wide = sorted((a, b), key=len)
            self.numbers.fix(narrow, f"{node.name} gives it to every channel")
            return wide
        self.numbers.unite(a, b)
        return a

    def _concatenation(self, node: fx.Node) -> np.ndarray | None:
        parts, axis = _argument(node, 0, "tensors", ()), _argument(node, 1, "dim", 0)
        if not all(isinstance(part, fx.Node) and part in self.labels for part in parts):
            return None
        labels = [self.labels[part] for part in parts]
        rank = self._rank(parts[0])
        if axis % rank == 1:
            return np.concatenate(labels)
        for other in labels[1:]:
            self.numbers.unite(labels[0], other)
        return labels[0]


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _scalars(node: fx.Node) -> bool:
    """Whether all arguments but the tensor are plain values."""
    return len(node.all_input_nodes) == 1


def _strings_together(node: fx.Node) -> bool:
    """view(n, -1), reshape((n, -1)): the features' number is found anew when channels go."""
    shape = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], tuple | list) else node.args[1:]
    return len(shape) == 2 and shape[1] == -1


def _asks_for_size(node: fx.Node) -> bool:
    """Whether a node reads sizes of a tensor, but not how many channels it has."""
    name = _name(node.target)
    if name == "size" and len(node.args) == 2:
        return node.args[1] in (0, 2, 3, -1)
    if name == "size" or (name == "getattr" and node.args[1] == "shape"):
        return all(_name(user.target) == "getitem" and user.args[1] in (0, 2, 3, -1) for user in node.users)
    return False
