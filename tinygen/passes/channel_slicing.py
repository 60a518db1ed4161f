"""Rewrites a graph without some channels of its tensors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinygen.ir.encodings import Affine, IntegerEncoding
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Binary
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.integer_mac import SCALES
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Tensor
from tinygen.passes.channel_folding import Reader
from tinygen.passes.integer_channels import compressed, moved, narrowed
from tinygen.passes.mac_ranges import bias_of
from tinygen.passes.remove_dead import remove_dead

Readers = Mapping[str, Reader]


def sliced(graph: Graph, removed: Mapping[str, np.ndarray], readers: Readers) -> Graph:
    """The graph without the channels marked in `removed`.

    Args:
        graph: every operator must allow the removal.
        removed: by tensor name, bool [C] over the last axis, never all of them.
        readers: by operator name, the layers whose biases or epilogues absorb constant input channels.
    """
    return _Slicer(graph, removed, readers).run()


class _Slicer:
    def __init__(self, graph: Graph, removed: Mapping[str, np.ndarray], readers: Readers) -> None:
        self.graph, self.removed, self.readers = graph, removed, readers
        self.tensors = dict(graph.tensors)
        for name, mask in removed.items():
            tensor = graph.tensors[name]
            self.tensors[name] = replace(tensor, shape=(*tensor.shape[:-1], int((~mask).sum())))

    def run(self) -> Graph:
        ops = tuple(self._op(node) for node in self.graph.nodes())
        return remove_dead(replace(self.graph, tensors=self.tensors, ops=ops))

    def _op(self, node: Node) -> Op:
        op = node.op
        if not any(name in self.removed for name in (*op.inputs, *op.outputs)):
            return op
        if isinstance(op, MacLayer):
            return self._layer(node, op, self.readers.get(op.name))
        if isinstance(op, Reshape):
            return replace(op, shape=self.tensors[op.outputs[0]].shape)
        if isinstance(op, Binary):
            return replace(op, inputs=tuple(self._operand(node, index) for index in range(len(op.inputs))))
        if isinstance(op, Concatenation):
            return self._concatenation(node, op)
        return narrowed(op, self._kept(node.output))

    def _kept(self, tensor: Tensor) -> np.ndarray:
        return ~self.removed.get(tensor.name, np.zeros(tensor.shape[-1], bool))

    def _constant(self, tensor: Tensor, op: Op, what: str) -> str:
        """A new constant under a free name; the old one may have other readers."""
        wanted = f"{op.name} {what}"
        names = itertools.chain([wanted], (f"{wanted} {count}" for count in itertools.count(2)))
        name = next(name for name in names if name not in self.tensors)
        self.tensors[name] = replace(tensor, name=name)
        return name

    def _layer(self, node: Node, op: MacLayer, reader: Reader | None) -> Op:
        """Fewer filters, fewer weights in each, another bias or epilogue; without a reader, each filter belongs to one
        input channel, and is removed with it.
        """
        keep, removed = self._kept(node.output), ~self._kept(node.input(0))
        taps = None if reader is None else ~removed
        weights = _filters(node.input(1), op.CHANNEL_AXIS, keep, taps)
        inputs, ending = [op.inputs[0], self._constant(weights, op, "weights")], op.epilogue
        bias, scales = node.optional(2), node.optional(SCALES)
        added = None if reader is None else reader.added(removed)
        if added is not None and isinstance(ending, Rescale | Threshold):
            ending = moved(ending, added)
        elif bias is not None or (added is not None and added[keep].any()):
            whole = bias_of(node, len(keep)) + (0 if added is None else added)
            inputs.append(self._constant(_bias(node, whole[keep], keep), op, "bias"))
        if scales is not None:
            inputs += ["", self._constant(_filters(scales, 0, keep, taps), op, "scales")]
        return replace(op, inputs=tuple(inputs), epilogue=compressed(ending, keep))

    def _operand(self, node: Node, index: int) -> str:
        """A constant operand follows the run-time one, unless it is broadcast over the channels."""
        tensor = node.input(index)
        if not tensor.is_constant or not tensor.shape or tensor.shape[-1] != node.output.shape[-1]:
            return tensor.name
        last = len(tensor.shape) - 1
        return self._constant(_compressed(tensor, last, self._kept(node.output)), node.op, f"operand {index}")

    def _concatenation(self, node: Node, op: Concatenation) -> Op:
        kept = self._kept(node.output)
        last = len(node.output.shape) - 1
        inputs, start = [], 0
        for index, name in enumerate(op.inputs):
            tensor = node.input(index)
            part = kept[start : start + tensor.shape[-1]] if op.axis == last else kept
            start += tensor.shape[-1]
            if not part.any():
                continue
            if tensor.is_constant:
                name = self._constant(_compressed(tensor, last, part), op, f"operand {index}")
            inputs.append(name)
        return replace(op, inputs=tuple(inputs))


def _filters(tensor: Tensor, axis: int, keep: np.ndarray, channels: np.ndarray | None) -> Tensor:
    """Weights or scales of some filters, and of the input channels in `channels`, of each tap; None for all."""
    tensor = _compressed(tensor, axis, keep)
    if channels is None:
        return tensor
    return _compressed(tensor, len(tensor.shape) - 1, np.tile(channels, tensor.shape[-1] // len(channels)))


def _compressed(tensor: Tensor, axis: int, keep: np.ndarray) -> Tensor:
    """A constant without some slices along `axis`, its scales along that axis with them."""
    assert tensor.data is not None
    data, encoding = np.compress(keep, tensor.data, axis=axis), tensor.encoding
    if isinstance(encoding, Affine) and encoding.axis == axis:
        encoding = _scales(encoding, keep)
    elif isinstance(encoding, IntegerEncoding) and encoding.axis == axis and len(encoding.scale) == len(keep):
        encoding = replace(encoding, scale=tuple(np.array(encoding.scale)[keep].tolist()))
    return replace(tensor, shape=data.shape, encoding=encoding, data=data, nested_in=None)


def _scales(encoding: Affine, keep: np.ndarray) -> Affine:
    kept = np.flatnonzero(keep)
    if len(encoding.scale) != len(keep):
        return encoding
    return replace(
        encoding,
        scale=tuple(encoding.scale[i] for i in kept),
        zero_point=tuple(encoding.zero_point[i] for i in kept),
    )


def _flat(bias: Tensor, keep: np.ndarray) -> Tensor:
    """A bias, whatever its shape, as [O]."""
    assert bias.data is not None
    encoding = _scales(bias.encoding, keep) if isinstance(bias.encoding, Affine) else bias.encoding
    data = bias.data.reshape(-1)[keep]
    return replace(bias, shape=data.shape, encoding=encoding, data=data)


def _bias(node: Node, values: np.ndarray, keep: np.ndarray) -> Tensor:
    """The layer's bias with other values, or a new one."""
    bias = node.optional(2)
    if bias is not None:
        return replace(_flat(bias, keep), data=values.astype(bias.dtype))
    weights = node.input(1).affine
    kind = "int64" if node.output.dtype == np.int16 else "int32"
    scales = tuple(node.input(0).scale * scale for scale in weights.scale)
    encoding = Affine(kind, scales, (0,) * len(scales), 0 if weights.per_channel else None)
    encoding = _scales(encoding, keep) if weights.per_channel else encoding
    return Tensor("", values.shape, encoding, values.astype(kind))
