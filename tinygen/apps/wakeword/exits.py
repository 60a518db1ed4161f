"""A network with an exit: a small head listens to every step, and what is behind it only to what may be the phrase.

The first convolution and the head stream, as the usual network does: they compute one new frame in a step. The rest
keeps no state. It takes all frames of the first convolution that the window has at once, in strides, and so costs
several times a streaming network's step; but only where the head does not leave. Where it leaves, the answer is the
lowest probability.
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
    """From features [N, CHANNELS, T, 1] to logits [N, 1, S, 1], one for every window of `frames` frames, HOP apart.

    Attributes:
        trunk: what head and rest both see.
        head: the exit's logits.
        rest: the answer's. Its strides are dilations here, so that it has an answer for every step: the same one.
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
        """The layer that gives the answer."""
        return self.rest.whole

    def forward(self, features: Tensor) -> Tensor:
        return self.rest(self.trunk(features))

    def both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the exit and of the answer."""
        seen = self.trunk(features)
        return self.head(seen), self.rest(seen)


def _strided(steps: int) -> tuple[tuple[int, int], ...]:
    """Reach and stride of each convolution behind the exit: the last frame is in the last window of each."""
    first = 4 + (steps - 4) % 3
    left = (steps - first) // 3 + 1
    second = 5 + (left - 5) % 2
    last = min(3, (left - second) // 2 + 1)
    return (first, 3), (second, 2), (last, 1)


def _block(source: int, filters: int, reach: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(source, filters, (reach, 1), stride=(stride, 1), dilation=(dilation, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU())


def _tower(source: int, filters: int, layers: Sequence[tuple[int, int]], steps: int) -> nn.Sequential:
    """Convolutions of (reach, stride), each stride a dilation of what follows, and one over all that is left."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    apart = 1
    for number, (reach, stride) in enumerate(layers, 2):
        parts[f"block{number}"] = _block(source, filters, reach, dilation=apart)
        steps = (steps - reach) // stride + 1
        source, apart = filters, apart * stride
    parts["whole"] = nn.Conv2d(source, 1, (steps, 1), dilation=(apart, 1))
    return nn.Sequential(parts)


class OneWindow(nn.Module):  # type: ignore[misc]
    """A window's exit, a logit, and its answer, a probability; with strides in the place of dilations.

    [N, CHANNELS, frames, 1] to two of [N, 1].
    """

    def __init__(self, network: ExitNetwork) -> None:
        super().__init__()
        self.trunk, self.head, self.rest = network.trunk, network.head, _with_strides(network.rest)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.trunk(features)
        return self.head(seen).flatten(1), self.rest(seen).flatten(1).sigmoid()


def _with_strides(tower: nn.Sequential) -> nn.Sequential:
    """The same layers for one window: each convolution's stride is what the next one's dilation has grown by."""
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
    """A trained network in int8.

    Attributes:
        window: graph of a window, with two outputs: the head's logit, and the answer.
    """

    window: Graph

    def gate(self) -> Graph:
        """The head's logit, step by step."""
        head = replace(self.window, outputs=self.window.outputs[:1])
        return to_streaming(Network.of(remove_dead(head)), hop=HOP).first

    def stream(self, leaves_below: int) -> Network:
        """The network, step by step."""
        return with_exit(self.window, leaves_below=leaves_below)


def int8_exit(network: ExitNetwork, windows: Tensor, *, name: str) -> Exit:
    """In int8 by TFLite's rules.

    Args:
        network: trained.
        windows: features [N, CHANNELS, frames, 1] to calibrate with.
        name: C identifier.
    """
    return Exit(export(OneWindow(network).eval(), windows[:1], windows, name=name))


def with_exit(graph: Graph, *, leaves_below: int) -> Network:
    """The network step by step: trunk and head stream, the rest is a branch.

    Args:
        graph: of a window, with two outputs: the head's logit, and the answer, a probability. All that the rest reads
            of what the head reads is one tensor.
        leaves_below: the code of the head's logit below which a step leaves; boards may set another, see THRESHOLD.
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
    """Names of the operators that an output needs."""
    wanted, found = {output}, set()
    for op in reversed(graph.ops):
        if wanted & set(op.outputs):
            found.add(op.name)
            wanted |= set(op.inputs)
    return found


def _never(graph: Graph, seen: str, answer: str) -> Graph:
    """A branch that answers with the lowest code."""
    tensor = graph.tensors[answer]
    lowest = np.full(tensor.shape, tensor.code_range[0], tensor.dtype)
    constant = replace(tensor, data=lowest)
    tensors = {seen: graph.tensors[seen], answer: constant}
    return Graph(name="leave", tensors=tensors, ops=(), inputs=(seen,), outputs=(answer,))


def _behind(graph: Graph, seen: str, answer: str, ops: Sequence[Op]) -> Graph:
    part = Graph(name="rest", tensors=graph.tensors, ops=tuple(ops), inputs=(seen,), outputs=(answer,))
    return remove_dead(part)
