"""Removes filters from graphs, of int8 or of any integer encoding; all other values stay bit-identical.

With a channel go its filters, its entries of biases, scales, epilogues and constants, and the weights that read it. The
outputs are then those of `masked_graph`, where its readers have zero weights for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.compress.surgery.channels import kept_channels
from tinygen.compress.surgery.graph_channels import FOLLOWERS, GraphChannels, graph_channels, is_layer
from tinygen.errors import ModelError
from tinygen.ir.encodings import Binary as BinaryEncoding
from tinygen.ir.encodings import Codebook, Encoding, Float32, IntegerEncoding, Levels, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.integer_mac import SCALES
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Tensor
from tinygen.passes.integer_channels import narrowed
from tinygen.passes.remove_dead import remove_dead

GraphMasks = Mapping[str, np.ndarray]
"""Bool [O], True for what is kept, by the name of an operator or of its output; or of the PyTorch module, whose dots
are underscores in operators' names."""


def consistent_graph(graph: Graph, masks: GraphMasks) -> dict[str, np.ndarray]:
    """Masks of all convolutions and dense layers, by operator, that remove what `masks` remove, as far as it is
    removable.

    The rules are those of `consistent`.

    Raises:
        ModelError: a mask names no layer with constant weights, or does not fit it.
    """
    channels = graph_channels(graph)
    kept = kept_channels(channels, _by_operator(graph, channels, masks))[0]
    return {name: np.isin(layer.outputs, list(kept)) for name, layer in channels.layers.items()}


def slim_graph(graph: Graph, masks: GraphMasks) -> Graph:
    """The graph without the filters that `consistent_graph(graph, masks)` takes away.

    Its outputs equal those of `masked_graph(graph, masks)`, bit by bit. Model inputs and outputs keep their shapes.

    Raises:
        ModelError: as `consistent_graph`.
    """
    channels = graph_channels(graph)
    kept = kept_channels(channels, _by_operator(graph, channels, masks))[0]
    slim = _Slicer(graph, channels, kept).run()
    slim.validate()
    return slim


def masked_graph(graph: Graph, masks: GraphMasks) -> Graph:
    """The graph, as wide as before, whose layers ignore what `slim_graph` removes: a reference.

    Their weights for a removed channel are zero. Encodings without a zero get kernel scales, which are zero there.

    Raises:
        ModelError: as `consistent_graph`.
    """
    channels = graph_channels(graph)
    kept = list(kept_channels(channels, _by_operator(graph, channels, masks))[0])
    tensors, ops = dict(graph.tensors), list(graph.ops)
    for place, node in enumerate(graph.nodes()):
        layer = channels.layers.get(node.op.name)
        if layer is None or layer.depthwise:
            continue
        ignored = ~np.isin(layer.inputs[: len(layer.inputs) // layer.groups], kept)
        if ignored.any():
            ops[place], new = _ignoring(node, ignored)
            tensors[new.name] = new
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _by_operator(graph: Graph, channels: GraphChannels, masks: GraphMasks) -> dict[str, np.ndarray]:
    names: dict[str, str] = {}
    for node in graph.nodes():
        if node.op.name in channels.layers:
            names |= {node.op.name: node.op.name, node.output.name: node.op.name}
    found = {}
    for name, mask in masks.items():
        operator = names.get(name) or names.get(name.replace(".", "_"))
        if operator is None:
            raise ModelError(
                "no convolution or dense layer of constant weights",
                where=name,
                fix=f"Layers: {', '.join(channels.layers)}.",
            )
        count = len(channels.layers[operator].outputs)
        if mask.dtype != np.bool_ or mask.shape != (count,):
            raise ModelError(
                f"a mask {mask.dtype} {list(mask.shape)} for {count} filters",
                where=name,
                fix=f"Give a NumPy array, bool [{count}].",
            )
        if operator in found:
            raise ModelError(f"a second mask for {operator}", where=name, fix="Give one mask for each layer.")
        found[operator] = mask
    return found


def _ignoring(node: Node, ignored: np.ndarray) -> tuple[Op, Tensor]:
    """The operator with weights, or kernel scales, that are zero for some slices of its filters; and the new tensor."""
    weights = node.input(1)
    columns = np.tile(ignored, weights.shape[-1] // len(ignored))
    inputs = list(node.op.inputs)
    zero = _zero(weights.encoding)
    if zero is not None:
        name, place = f"{node.op.name} masked weights", 1
        codes = node.constant(1).copy()
        codes[..., columns] = zero
        new = replace(weights, name=name, data=codes)
    else:
        name, place = f"{node.op.name} masked scales", SCALES
        shape = (weights.shape[0], weights.shape[-1])
        scales = node.constant(SCALES).copy() if node.optional(SCALES) is not None else np.ones(shape, np.uint16)
        inputs += [""] * (SCALES - len(inputs))
        scales[:, columns] = 0
        new = Tensor(name, shape, Plain("uint16"), scales)
    inputs[place:] = [name, *inputs[place + 1 :]]
    return replace(node.op, inputs=tuple(inputs)), new


def _zero(encoding: Encoding) -> int | None:
    """The code of zero, if there is one for all channels."""
    if isinstance(encoding, Float32):
        return 0
    if isinstance(encoding, BinaryEncoding | Codebook) or (isinstance(encoding, Levels) and encoding.signed):
        return None
    zeros = set(getattr(encoding, "zero_point", (0,)))
    return int(zeros.pop()) if len(zeros) == 1 else None


class _Slicer:
    """Rebuilds a graph without some channels."""

    def __init__(self, graph: Graph, channels: GraphChannels, kept: set[int]) -> None:
        self.graph, self.channels = graph, channels
        self.kept = np.array(sorted(kept), np.int64)
        self.tensors = dict(graph.tensors)
        for name, numbers in channels.tensors.items():
            tensor = graph.tensors[name]
            self.tensors[name] = replace(tensor, shape=(*tensor.shape[:-1], int(self._keep(numbers).sum())))

    def run(self) -> Graph:
        ops = tuple(self._op(node) for node in self.graph.nodes())
        return remove_dead(replace(self.graph, tensors=self.tensors, ops=ops))

    def _keep(self, numbers: np.ndarray) -> np.ndarray:
        return np.isin(numbers, self.kept)

    def _op(self, node: Node) -> Op:
        numbers = self.channels.tensors.get(node.output.name)
        if is_layer(node) and node.op.name in self.channels.layers:
            return self._layer(node)
        if numbers is None or self._keep(numbers).all():
            return node.op
        op, keep = node.op, self._keep(numbers)
        if isinstance(op, Reshape):
            return replace(op, shape=self.tensors[op.outputs[0]].shape)
        if isinstance(op, FOLLOWERS):
            op = replace(op, inputs=tuple(self._operand(node, place, keep) for place in range(len(op.inputs))))
        return narrowed(op, keep)

    def _operand(self, node: Node, place: int, keep: np.ndarray) -> str:
        """A constant with a value for each channel follows; others are broadcast."""
        name = node.op.inputs[place]
        tensor = self.graph.tensors[name]
        if not tensor.is_constant or not tensor.shape or tensor.shape[-1] != len(keep):
            return name
        return self._constant(_sliced(tensor, len(tensor.shape) - 1, keep), f"{node.op.name} operand {place}")

    def _layer(self, node: Node) -> Op:
        op, layer = node.op, self.channels.layers[node.op.name]
        assert isinstance(op, MacLayer)
        rows = self._keep(layer.outputs)
        columns = np.ones(1, bool) if layer.depthwise else self._keep(layer.inputs[: len(layer.inputs) // layer.groups])
        if rows.all() and columns.all():
            return op
        inputs = [op.inputs[0], "", "", ""]
        for index, what in ((1, "weights"), (2, "bias"), (SCALES, "scales")):
            tensor = node.optional(index)
            if tensor is None:
                continue
            if what == "bias":
                tensor = _sliced(replace(tensor, shape=(tensor.size,), data=node.constant(index).reshape(-1)), 0, rows)
            else:
                tensor = _sliced(tensor, op.CHANNEL_AXIS if what == "weights" else 0, rows)
                if not isinstance(op, DepthwiseConv2D):
                    taps = tensor.shape[-1] // len(columns)
                    tensor = _sliced(tensor, len(tensor.shape) - 1, np.tile(columns, taps))
            inputs[index] = self._constant(tensor, f"{op.name} {what}")
        while not inputs[-1]:
            inputs.pop()
        return narrowed(replace(op, inputs=tuple(inputs)), rows)

    def _constant(self, tensor: Tensor, wanted: str) -> str:
        """A new constant under a free name: the old one may have other readers."""
        name, count = wanted, 1
        while name in self.tensors:
            count += 1
            name = f"{wanted} {count}"
        self.tensors[name] = replace(tensor, name=name)
        return name


def _sliced(tensor: Tensor, axis: int, keep: np.ndarray) -> Tensor:
    """A constant without some slices along an axis, its scales along that axis with them."""
    assert tensor.data is not None
    data, encoding = np.compress(keep, tensor.data, axis=axis), tensor.encoding
    if isinstance(encoding, IntegerEncoding) and encoding.axis == axis and len(encoding.scale) == len(keep):
        changes: dict[str, Any] = {"scale": _each(encoding.scale, keep)}
        if hasattr(encoding, "zero_point"):
            changes["zero_point"] = _each(encoding.zero_point, keep)
        encoding = replace(encoding, **changes)
    return replace(tensor, shape=data.shape, encoding=encoding, data=data, nested_in=None)


def _each(values: tuple, keep: np.ndarray) -> tuple:
    """The values of kept channels, where there is one for each."""
    return tuple(value for value, kept in zip(values, keep, strict=True) if kept) if len(values) > 1 else values
