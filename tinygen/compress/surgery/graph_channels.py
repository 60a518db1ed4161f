"""The channels of a graph: its last axes, followed through the operators, as `rules` does it for PyTorch networks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinygen.compress.surgery.channels import ChannelMap, LayerChannels, Numbers
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Binary
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import Pool2D
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.reduce import Reduce
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.resize import Resize
from tinygen.ir.ops.unary import Unary
from tinygen.ir.tensor import Tensor

_CHANNELWISE = (Unary, Quantize, Dequantize, Requantize, Pool2D, Resize)
FOLLOWERS = (Binary, IntegerAdd, Concatenation)
"""Operators whose constant inputs lose what their outputs lose."""


@dataclass
class GraphChannels(ChannelMap):
    """The channels of a graph; layers by the name of the operator.

    Attributes:
        tensors: by name, the numbers of the last axis of what is computed at run time.
    """

    tensors: dict[str, np.ndarray] = field(default_factory=dict)


def is_layer(node: Node) -> bool:
    """Whether an operator is a convolution or dense layer of constant weights and nothing else."""
    # Subclasses add inputs (a sum that is taken in): those are not known here.
    return type(node.op) in (Conv2D, DepthwiseConv2D, FullyConnected) and all(
        tensor is None or tensor.is_constant for tensor in node.inputs[1:]
    )


def graph_channels(graph: Graph) -> GraphChannels:
    """The channels of a graph."""
    return _Walk(graph).run()


class _Walk:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.numbers = Numbers()
        self.layers: dict[str, LayerChannels] = {}
        self.labels: dict[str, np.ndarray] = {}

    def run(self) -> GraphChannels:
        for name in self.graph.inputs:
            self._fresh(self.graph.tensors[name], "it belongs to the model's input")
        for state in self.graph.states:
            self._fresh(self.graph.tensors[state.tensor], "it is kept between inferences")
        for node in self.graph.nodes():
            labels = self._node(node)
            if labels is None:
                for tensor in node.inputs:
                    if tensor is not None and tensor.name in self.labels:
                        self.numbers.fix(self.labels[tensor.name], f"{node.op.name} may mix channels")
                for tensor in node.outputs:
                    self._fresh(tensor, f"it comes from {node.op.name} ({node.op.KIND})")
            else:
                self.labels[node.output.name] = labels
        for name in self.graph.outputs:
            self.numbers.fix(self.labels.get(name, ()), "the model gives it back")
        for state in self.graph.states:
            self.numbers.fix(self.labels.get(state.update, ()), "it is kept between inferences")
        return self._resolved()

    def _resolved(self) -> GraphChannels:
        resolve = self.numbers.resolve
        return GraphChannels(
            layers={
                name: LayerChannels(resolve(layer.inputs), resolve(layer.outputs), layer.groups)
                for name, layer in self.layers.items()
            },
            fixed=self.numbers.reasons(),
            tensors={name: resolve(labels) for name, labels in self.labels.items()},
        )

    def _fresh(self, tensor: Tensor, reason: str) -> None:
        if tensor.shape and not tensor.is_constant:
            self.labels[tensor.name] = self.numbers.new(tensor.shape[-1], reason)

    def _node(self, node: Node) -> np.ndarray | None:
        """The labels of the output; None where an operator is not known."""
        op = node.op
        if len(node.outputs) != 1 or not node.output.shape:
            return None
        if isinstance(op, FOLLOWERS) and type(op).__name__ != "Pack":
            return self._joined(node, op)
        x = self.labels.get(node.input(0).name)
        if x is None:
            return None
        if is_layer(node):
            return self._layer(node, x)
        if isinstance(op, Reshape):
            return self._reshape(node, x)
        last = len(node.input(0).shape) - 1
        kept = (isinstance(op, Pad) and op.paddings[last] == (0, 0)) or (isinstance(op, Reduce) and last not in op.axes)
        return x if isinstance(op, _CHANNELWISE) or kept else None

    def _layer(self, node: Node, x: np.ndarray) -> np.ndarray | None:
        weights = node.input(1)
        if isinstance(node.op, FullyConnected):
            outputs, depth = weights.shape
            if depth % len(x):
                return None
            return self._add(node, np.tile(x, depth // len(x)), outputs, 1)
        if isinstance(node.op, DepthwiseConv2D):
            return self._add(node, x, weights.shape[3], len(x))
        return self._add(node, x, weights.shape[0], len(x) // weights.shape[3])

    def _add(self, node: Node, inputs: np.ndarray, filters: int, groups: int) -> np.ndarray:
        outputs = self.numbers.new(filters)
        layer = LayerChannels(inputs, outputs, groups)
        self.layers[node.op.name] = layer
        if layer.depthwise:
            self.numbers.unite(outputs, np.repeat(inputs, filters // groups))
        elif groups > 1:
            for numbers in (inputs, outputs):
                rows = numbers.reshape(groups, -1)
                self.numbers.unite(rows[1:].flat, np.broadcast_to(rows[0], rows[1:].shape).flat)
        return outputs

    def _joined(self, node: Node, op: Op) -> np.ndarray | None:
        """Operands side by side, or element by element."""
        last = len(node.output.shape) - 1
        if isinstance(op, Concatenation) and op.axis == last:
            # A constant among the operands stays as it is.
            return (
                None
                if any(t is None or t.name not in self.labels for t in node.inputs)
                else np.concatenate([self.labels[name] for name in op.inputs])
            )
        wide = [
            self.labels[tensor.name]
            for tensor in node.inputs
            if tensor is not None and tensor.name in self.labels and tensor.shape[-1] == node.output.shape[-1]
        ]
        moving = [tensor for tensor in node.inputs if tensor is not None and tensor.name in self.labels]
        if not wide or len(wide) != len(moving):
            return None
        for other in wide[1:]:
            self.numbers.unite(wide[0], other)
        return wide[0]

    def _reshape(self, node: Node, x: np.ndarray) -> np.ndarray | None:
        """Element i of the last axis is channel i % C, whether rows stay or are strung together."""
        wide = node.output.shape[-1]
        return np.tile(x, wide // len(x)) if wide % len(x) == 0 else None
