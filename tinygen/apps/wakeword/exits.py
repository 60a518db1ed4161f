"""A network with an early exit: a small head runs at every step, the rest only if the phrase is possible.

The first convolution and the head are streaming, as in the network without an exit: they compute one new frame a step.
The rest has no states: it computes the window anew from all frames of the first convolution, in strides, and costs
several times as much as a step of a streaming network, but only in steps that do not leave at the exit. The answer of
steps that do leave is the lowest probability.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.apps.wakeword.network import CHANNELS, HOP
from tinygen.frontends.torch import export
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.tensor import Tensor as IrTensor
from tinygen.ir.thresholds import new_threshold
from tinygen.passes.remove_dead import remove_dead
from tinygen.passes.to_streaming import to_streaming

TRUNK, HEAD, REST = 32, 12, 64
"""Filters of the first convolution, of each in the head, and of each behind it."""
REACH = 5
"""Of the first convolution, in frames."""
THRESHOLD = "EXIT"
"""The name by which boards set it: a code of the head's logit, see `Graph.states`."""


class ExitNetwork(nn.Module):  # type: ignore[misc]
    """Maps features [N, CHANNELS, T, 1] to logits [N, 1, S, 1], one for every window of `frames` frames, HOP apart.

    Attributes:
        trunk: layers before head and rest.
        head: gives the exit's logits.
        rest: gives the answer's logits. Its strides are dilations here: the same answer, but for every step.
    """

    def __init__(self, frames: int, *, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        steps = (frames - REACH) // HOP + 1
        self.frames = frames
        self.trunk = nn.Sequential(_block(CHANNELS, TRUNK, REACH, stride=HOP))
        self.head = _tower(TRUNK, HEAD, ((5, 1), (7, 1)), steps)
        self.rest = _tower(TRUNK, REST, _strided(steps), steps)

    @property
    def whole(self) -> nn.Module:
        """The module that gives the answer."""
        return self.rest.whole

    def forward(self, features: Tensor) -> Tensor:
        return self.rest(self.trunk(features))

    def both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(logits of the exit, logits of the answer)."""
        seen = self.trunk(features)
        return self.head(seen), self.rest(seen)


def _strided(steps: int) -> tuple[tuple[int, int], ...]:
    """(kernel size, stride) of each convolution after the exit, such that each one's last window has the last frame."""
    first = 4 + (steps - 4) % 3
    left = (steps - first) // 3 + 1
    second = 5 + (left - 5) % 2
    last = min(3, (left - second) // 2 + 1)
    return (first, 3), (second, 2), (last, 1)


def _block(source: int, filters: int, reach: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(source, filters, (reach, 1), stride=(stride, 1), dilation=(dilation, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU())


def _tower(source: int, filters: int, layers: Sequence[tuple[int, int]], steps: int) -> nn.Sequential:
    """Convolutions of (kernel size, stride), with strides as dilations of later layers, and one over the remainder."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    apart = 1
    for number, (reach, stride) in enumerate(layers, 2):
        parts[f"block{number}"] = _block(source, filters, reach, dilation=apart)
        steps = (steps - reach) // stride + 1
        source, apart = filters, apart * stride
    parts["whole"] = nn.Conv2d(source, 1, (steps, 1), dilation=(apart, 1))
    return nn.Sequential(parts)


class OneWindow(nn.Module):  # type: ignore[misc]
    """The network for one window, with strides instead of dilations: the exit's logit and the answer's probability.

    Maps [N, CHANNELS, frames, 1] to two outputs [N, 1].
    """

    def __init__(self, network: ExitNetwork) -> None:
        super().__init__()
        self.trunk, self.head, self.rest = network.trunk, network.head, _with_strides(network.rest)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.trunk(features)
        return self.head(seen).flatten(1), self.rest(seen).flatten(1).sigmoid()


def _with_strides(tower: nn.Sequential) -> nn.Sequential:
    """The same layers for one window: a convolution's stride is the factor by which the next dilation is larger."""
    convs = [layer for layer in tower.modules() if isinstance(layer, nn.Conv2d)]
    apart = [layer.dilation[0] for layer in convs]
    strides = [after // before for before, after in zip(apart, [*apart[1:], apart[-1]], strict=True)]
    result = nn.Sequential(OrderedDict(tower.named_children()))
    made = {layer: _strided_copy(layer, stride) for layer, stride in zip(convs, strides, strict=True)}
    for name, part in tower.named_children():
        new = made[part] if part in made else nn.Sequential(*(made.get(layer, layer) for layer in part))
        setattr(result, name, new)
    return result.eval()


def _strided_copy(layer: nn.Conv2d, stride: int) -> nn.Conv2d:
    made = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, stride=(stride, 1), bias=layer.bias is not None
    )
    made.load_state_dict(layer.state_dict())
    return made


@dataclass(frozen=True)
class Exit:
    """A trained network with an exit in int8.

    Attributes:
        window: graph of a window, with two outputs: the head's logit, and the answer.
    """

    window: Graph

    def gate(self) -> Graph:
        """The streaming graph of the head, whose output is the exit's logit."""
        head = replace(self.window, outputs=self.window.outputs[:1])
        return to_streaming(Network.of(remove_dead(head)), hop=HOP).first

    def stream(self, leaves_below: int) -> Network:
        """The streaming network; see `with_exit`."""
        return with_exit(self.window, leaves_below=leaves_below)


def int8_exit(network: ExitNetwork, windows: Tensor, *, name: str) -> Exit:
    """The network in int8 by TFLite's rules.

    Args:
        network: trained.
        windows: features [N, CHANNELS, frames, 1] to calibrate with.
        name: C identifier.
    """
    return Exit(export(OneWindow(network).eval(), windows[:1], windows, name=name))


def with_exit(graph: Graph, *, leaves_below: int) -> Network:
    """The streaming network: trunk and head are streaming, the rest is a branch.

    Args:
        graph: of a window, with two outputs: the head's logit, and the answer, a probability. Head and rest share
            exactly one tensor.
        leaves_below: steps leave if the code of the head's logit is below this; applications may set it, see THRESHOLD.
    """
    gate, answer = graph.outputs
    streamed = _needed(graph, gate)
    rest = [op for op in graph.ops if op.name not in streamed]
    made = {name for op in rest for name in op.outputs}
    (seen,) = {
        name for op in rest for name in op.inputs if name and name not in made and not graph.tensors[name].is_constant
    }
    front = replace(graph, ops=tuple(op for op in graph.ops if op.name in streamed), outputs=(gate, seen))
    stream = to_streaming(Network.of(remove_dead(front)), hop=HOP).first
    code, state = new_threshold(THRESHOLD, graph.tensors[gate].encoding, leaves_below)
    index = IrTensor("goes_on", graph.tensors[gate].shape, Plain("bool"))
    compare = Compare(name="goes_on", inputs=(gate, code.name), outputs=(index.name,), relation=Relation.GREATER_EQUAL)
    branch = Branch(
        name="exit",
        inputs=(index.name, seen),
        outputs=(answer,),
        branches=(_never(graph, seen, answer), _behind(graph, seen, answer, rest)),
    )
    tensors = {**stream.tensors, code.name: code, index.name: index, answer: graph.tensors[answer]}
    result = replace(
        stream,
        tensors=tensors,
        ops=(*stream.ops, compare, branch),
        outputs=(answer,),
        states=(*stream.states, state),
    )
    network = Network.of(result)
    network.validate()
    return network


def _needed(graph: Graph, output: str) -> set[str]:
    """Names of the operators that an output depends on."""
    wanted, found = {output}, set()
    for op in reversed(graph.ops):
        if wanted & set(op.outputs):
            found.add(op.name)
            wanted |= set(op.inputs)
    return found


def _never(graph: Graph, seen: str, answer: str) -> Graph:
    """A branch whose output is the lowest code."""
    tensor = graph.tensors[answer]
    lowest = np.full(tensor.shape, tensor.code_range[0], tensor.dtype)
    constant = replace(tensor, data=lowest)
    tensors = {seen: graph.tensors[seen], answer: constant}
    return Graph(name="leave", tensors=tensors, ops=(), inputs=(seen,), outputs=(answer,))


def _behind(graph: Graph, seen: str, answer: str, ops: Sequence[Op]) -> Graph:
    part = Graph(name="rest", tensors=graph.tensors, ops=tuple(ops), inputs=(seen,), outputs=(answer,))
    return remove_dead(part)
