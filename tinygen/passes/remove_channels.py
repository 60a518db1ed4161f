"""Removes channels that are the same for every input, or that nothing reads.

A constant channel adds a constant to the next convolution or dense layer, whose bias absorbs it. In a padded layer some
windows read the zero point instead, so the channel is removed only if it equals the zero point or its weights are 0.
Filters of channels that no kept filter reads are removed too, back through depthwise layers, additions, pools and so
on.

The removable channels are the greatest fixed point of one rule per operator, found by iteration from "all channels".
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import WORD_BITS
from tinygen.ir.encodings import Binary as BinaryCodes
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Binary
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.pad import MirrorPad, Pad
from tinygen.ir.ops.pool_2d import Pool2D
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.ops.reduce import Reduce
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.unary import Unary
from tinygen.ir.tensor import Tensor
from tinygen.passes.channel_folding import reader
from tinygen.passes.channel_slicing import sliced
from tinygen.passes.integer_ranges import is_integer
from tinygen.passes.mac_ranges import has_integers, is_constant_mac
from tinygen.passes.ranges import channel_ranges

_CHANNELWISE = (
    Unary,
    Quantize,
    Pool2D,
    Pad,
    MirrorPad,
    Reduce,
    IntegerAdd,
    Requantize,
)


def remove_channels(graph: Graph, multiple: int = 1, *, integers: bool = True) -> Graph:
    """The same graph with narrower layers. Model inputs, outputs and states keep their shapes.

    Args:
        multiple: keep a number of channels that is a multiple of this if it was one before. For kernels that read four
            channels in a word, an incomplete word costs more than the extra channels.
        integers: also remove channels of layers on integer codes.
    """
    search = _Search(graph, integers)
    search.run()
    search.keep_multiples(multiple)
    removed = {name: mask for name, mask in search.removed.items() if mask.any()}
    return sliced(graph, removed, search.readers) if removed else graph


class _Search:
    """Search for the largest sets of removable channels, by tensor name (bool [C], True for removable)."""

    def __init__(self, graph: Graph, integers: bool) -> None:
        self.graph, self.integers = graph, integers
        ends = {*graph.sources, *graph.sinks}
        self.removed = {
            tensor.name: np.full(tensor.shape[-1], has_integers(tensor) and tensor.name not in ends)
            for tensor in graph.tensors.values()
            if not tensor.is_constant and tensor.shape
        }
        ranges = channel_ranges(graph)
        known = {name: (found.low, found.high) for name, found in ranges.items()}
        self.readers = {node.op.name: reader(node, known) for node in graph.nodes() if _folds(node)}

    def run(self) -> None:
        self._settle()
        while hollow := [name for name, mask in self.removed.items() if mask.size and mask.all()]:
            # The tensor has readers: keep one channel.
            self.removed[hollow[0]][0] = False
            self._settle()

    def keep_multiples(self, multiple: int) -> None:
        """Keeps some removable channels, so that each tensor keeps a multiple of `multiple` channels if it had one."""
        while ragged := [
            (mask, count)
            for name, mask in self.removed.items()
            if mask.size % (count := self._together(name, multiple)) == 0 and np.count_nonzero(mask) % count
        ]:
            mask, count = ragged[0]
            mask[np.flatnonzero(mask)[-(np.count_nonzero(mask) % count) :]] = False
            self._settle()

    def _together(self, name: str, multiple: int) -> int:
        """Channels per word; packed bits fill words of 32."""
        return WORD_BITS if multiple > 1 and isinstance(self.graph.tensors[name].encoding, BinaryCodes) else multiple

    def _settle(self) -> None:
        nodes = list(self.graph.nodes())
        while True:
            before = sum(int(mask.sum()) for mask in self.removed.values())
            for node in reversed(nodes):
                self._restrict(node)
            for node in nodes:
                self._restrict(node)
            if sum(int(mask.sum()) for mask in self.removed.values()) == before:
                return

    def _restrict(self, node: Node) -> None:
        """Unmarks channels that this operator does not allow to be removed."""
        op = node.op
        if is_integer(op) and not self.integers:
            self._block([*node.inputs, *node.outputs])
        elif op.name in self.readers:
            x = node.input(0)
            if x.name in self.removed and self.removed[x.name].any():
                self.removed[x.name] &= self.readers[op.name].spares(self.removed[x.name], self._output(node))
        elif isinstance(op, Conv2D | DepthwiseConv2D) and is_constant_mac(node) and _is_depthwise(node, op):
            self._depthwise(node, node.output.shape[3] // node.input(0).shape[3])
        elif isinstance(op, _CHANNELWISE) and _keeps_channels(node):
            self._link([*node.inputs, node.output])
        elif isinstance(op, Binary):
            self._binary(node)
        elif type(op) is Concatenation:
            self._concatenation(node, op.axis)
        elif isinstance(op, Reshape):
            self._reshape(node)
        else:
            self._block([*node.inputs, *node.outputs])

    def _output(self, node: Node) -> np.ndarray:
        return self.removed[node.output.name]

    def _block(self, tensors: list[Tensor | None]) -> None:
        for tensor in tensors:
            if tensor is not None and tensor.name in self.removed:
                self.removed[tensor.name][:] = False

    def _link(self, tensors: list[Tensor | None]) -> None:
        """Tensors lose the same channels; constants follow."""
        names = [tensor.name for tensor in tensors if tensor is not None and tensor.name in self.removed]
        common = np.logical_and.reduce([self.removed[name] for name in names])
        for name in names:
            self.removed[name][:] = common

    def _depthwise(self, node: Node, multiplier: int) -> None:
        x = node.input(0)
        if x.name not in self.removed:
            self._block([node.output])
            return
        common = self.removed[x.name] & self._output(node).reshape(-1, multiplier).all(axis=1)
        self.removed[x.name][:] = common
        self._output(node)[:] = np.repeat(common, multiplier)

    def _binary(self, node: Node) -> None:
        if not node.output.shape:
            self._block([*node.inputs])
            return
        channels = node.output.shape[-1]
        wide = [t for t in node.inputs if t is not None and t.shape and t.shape[-1] == channels]
        self._block([tensor for tensor in node.inputs if tensor not in wide])
        self._link([*wide, node.output])

    def _concatenation(self, node: Node, axis: int) -> None:
        if axis != len(node.output.shape) - 1:
            self._link([*node.inputs, node.output])
            return
        start = 0
        for tensor in node.inputs:
            assert tensor is not None
            part = self._output(node)[start : start + tensor.shape[-1]]
            start += tensor.shape[-1]
            if tensor.name in self.removed:
                part &= self.removed[tensor.name]
                self.removed[tensor.name][:] = part

    def _reshape(self, node: Node) -> None:
        x, y = node.input(0), node.output
        # With packed bits, pixels are adjacent as whole words only.
        broken = isinstance(x.encoding, BinaryCodes) and y.shape[-1:] != x.shape[-1:]
        if x.name not in self.removed or not y.shape or y.shape[-1] % x.shape[-1] != 0 or broken:
            self._block([x, y])
            return
        # Element i of the last axis is channel i % C, flattened or not.
        common = self.removed[x.name] & self._output(node).reshape(-1, x.shape[-1]).all(axis=0)
        self.removed[x.name][:] = common
        self._output(node)[:] = np.tile(common, y.shape[-1] // x.shape[-1])


def _is_depthwise(node: Node, op: Conv2D | DepthwiseConv2D) -> bool:
    return isinstance(op, DepthwiseConv2D) or node.input(1).shape[3] == 1


def _folds(node: Node) -> bool:
    """Whether the operator's bias or epilogue can absorb constant input channels."""
    op = node.op
    if not isinstance(op, Conv2D | FullyConnected) or not is_constant_mac(node):
        return False
    if isinstance(op, Conv2D):
        return op.groups(node) == 1
    return node.input(1).shape[1] % node.input(0).shape[-1] == 0


def _keeps_channels(node: Node) -> bool:
    """Whether output channel c depends on input channel c only."""
    op, last = node.op, len(node.input(0).shape) - 1
    if isinstance(op, Pad):
        return op.paddings[last] == (0, 0)
    if isinstance(op, Reduce):
        return last not in op.axes
    return True
