"""Which channels depend on the model's input, and which layer blocks an output that does not.

Combines two analyses: paths of non-zero weights through every operator, floats included, and ranges of codes
(`ranges`), which find saturated channels. A channel that they rule out is constant. Other channels may still be
constant, since neither analysis considers correlations between inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Binary
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import Pool2D
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.reduce import Reduce
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.ir.ops.unary import Unary
from tinygen.ir.tensor import Tensor
from tinygen.passes.ranges import channel_ranges

Channels = np.ndarray
"""Bool, one per channel (last axis); one for a tensor without axes."""
_CHANNELWISE = (Binary, Dequantize, Pad, Pool2D, Quantize, Reduce, Unary)


@dataclass(frozen=True)
class DeadOutput:
    """A model output that does not depend on the input.

    Attributes:
        output: its tensor's name.
        op: the first operator behind which nothing depends on the input; None if no path leads to the output at all.
        zeros, weights: number of the operator's weights that are 0, and of all; both 0 for an operator without weights.
    """

    output: str
    op: str | None
    zeros: int = 0
    weights: int = 0

    def __str__(self) -> str:
        text = f"output '{self.output}' is the same for every input"
        if self.op is None:
            return f"{text}: it is computed from constants alone"
        if self.weights == self.zeros > 0:
            return f"{text}: all {self.weights:,} weights of '{self.op}' are 0, and nothing passes beside it"
        text += f": every channel that '{self.op}' computes is constant, and nothing passes beside it"
        return text + (f" ({self.zeros:,} of its {self.weights:,} weights are 0)" if self.weights else "")


def dead_outputs(graph: Graph) -> list[DeadOutput]:
    """The outputs of a graph that do not depend on its inputs, in order.

    States are followed: an output that depends on a state which the input changes depends on the input.
    """
    found = dependent_channels(graph)
    return [_death(graph, found, name) for name in graph.outputs if not found[name].any()]


def death_notes(network: Network) -> list[str]:
    """A sentence for each dead output of each switch."""
    return [
        f"switch {switch.name}: {dead}" if network.is_switchable else str(dead)
        for switch in network
        for dead in dead_outputs(switch.graph)
    ]


def dependent_channels(graph: Graph) -> dict[str, Channels]:
    """For every tensor, the channels that may depend on a model input, directly or through a state."""
    found = {name: np.zeros(_width(tensor), bool) for name, tensor in graph.tensors.items()}
    for name in graph.inputs:
        found[name][:] = True
    constant = {name: values.constant for name, values in channel_ranges(graph).items()}
    while True:
        for node in graph.nodes():
            for tensor, channels in zip(node.outputs, _outputs(node, found), strict=True):
                found[tensor.name] = channels & ~constant.get(tensor.name, np.zeros(1, bool))
        # A state is read before its update is known: repeat until nothing changes.
        fresh = [one for one in graph.states if (found[one.update] & ~found[one.tensor]).any()]
        for state in fresh:
            found[state.tensor] = found[state.tensor] | found[state.update]
        if not fresh:
            return found


def _width(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.shape else 1


def _outputs(node: Node, found: dict[str, Channels]) -> list[Channels]:
    """Channels of an operator's outputs that paths reach."""
    if not any(tensor is not None and found[tensor.name].any() for tensor in node.inputs):
        return [np.zeros(_width(tensor), bool) for tensor in node.outputs]
    one = _one(node, found)
    return [one] if one is not None else [np.ones(_width(tensor), bool) for tensor in node.outputs]


def _one(node: Node, found: dict[str, Channels]) -> Channels | None:
    """Channels of an operator's single output, if the rule tells channels apart; None for other operators."""
    op = node.op
    if type(op) in (Conv2D, DepthwiseConv2D, FullyConnected, TransposeConv):
        return _mac(node, found)
    inputs = [found[tensor.name] for tensor in node.inputs if tensor is not None]
    if isinstance(op, _CHANNELWISE) and _keeps_channels(node):
        return np.logical_or.reduce([np.broadcast_to(one, _width(node.output)) for one in inputs])
    if type(op) is Concatenation:
        last = op.axis == len(node.output.shape) - 1
        return np.concatenate(inputs) if last else np.logical_or.reduce(inputs)
    if isinstance(op, Reshape) and _width(node.output) % len(inputs[0]) == 0:
        return np.tile(inputs[0], _width(node.output) // len(inputs[0]))
    return None


def _keeps_channels(node: Node) -> bool:
    """Whether output channel c reads only input channel c."""
    op, wide = node.op, _width(node.output)
    if isinstance(op, Reduce) and len(node.input(0).shape) - 1 in op.axes:
        return False
    return all(tensor is None or _width(tensor) in (1, wide) for tensor in node.inputs)


def _mac(node: Node, found: dict[str, Channels]) -> Channels | None:
    """Channels behind a multiply-accumulate with constant weights: paths through weights that are not 0."""
    if not node.input(1).is_constant:
        return None
    reads, x, wide = _used(node), found[node.input(0).name], _width(node.output)
    if isinstance(node.op, DepthwiseConv2D):
        result = reads.reshape(-1, wide).any(0) & np.repeat(x, node.op.multiplier(node))
    elif isinstance(node.op, FullyConnected):
        depth = reads.shape[1]
        x = np.tile(x, depth // len(x)) if depth % len(x) == 0 else np.full(depth, x.any())
        result = reads[:, x].any(1)
    else:
        groups = node.op.groups(node) if isinstance(node.op, Conv2D) else 1
        rows = reads.any((1, 2)).reshape(groups, wide // groups, -1)
        result = (rows & x.reshape(groups, 1, -1)).any(2).reshape(-1)
    bias = node.optional(2)
    return result if bias is None else result | found[bias.name]


def _used(node: Node) -> np.ndarray:
    """Weights that are not 0, bool, shaped as the weights."""
    codes, tensor = node.constant(1), node.input(1)
    return np.asarray((codes if tensor.is_float else tensor.integer.integers(codes)) != 0)


def _death(graph: Graph, found: dict[str, Channels], output: str) -> DeadOutput:
    """Finds the operator where the last path to this output ends."""
    ways = _ways(graph, output)
    alive = {name for name in graph.sources if found[name].any()}
    for place, op in enumerate(ways):
        alive |= {name for name in op.outputs if found[name].any()}
        if not alive & {name for later in ways[place + 1 :] for name in later.inputs}:
            return DeadOutput(output, op.name, *_zeros(graph.node(op)))
    return DeadOutput(output, None)


def _ways(graph: Graph, output: str) -> list[Op]:
    """Operators between the inputs or states and this output, in order."""
    wanted, back = {output}, []
    for op in reversed(graph.ops):
        if wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            back.append(op)
    reached, ways = set(graph.sources), []
    for op in reversed(back):
        if reached.intersection(op.inputs):
            reached.update(op.outputs)
            ways.append(op)
    return ways


def _zeros(node: Node) -> tuple[int, int]:
    """Number of zero weights of a multiply-accumulate, and of all weights."""
    if not node.op.macs(node) or len(node.inputs) < 2 or not node.input(1).is_constant:
        return 0, 0
    weights, codes = node.input(1), node.constant(1)
    values = codes if weights.is_float else weights.integer.integers(codes)
    return int((values == 0).sum()), values.size
