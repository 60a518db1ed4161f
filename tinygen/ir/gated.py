"""Multiply-accumulates (MAC) of gated networks, from the graph alone: executed, and expected at a density."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from tinygen.ir.branch import Branch
from tinygen.ir.encodings import ChannelList
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.top_k import TopK


@dataclass(frozen=True)
class GatedLayer:
    """A convolution whose channels are gated or whose weights are mixed.

    Attributes:
        pixels: number of output pixels.
        taps: of its window, KH * KW.
        channels: (outputs, inputs) of the whole layer.
        live: (outputs, inputs) that are computed and read.
        gated: whether a list chooses outputs, and inputs.
        experts: how many weights are mixed; 0 for constant ones.
    """

    name: str
    pixels: int
    taps: int
    channels: tuple[int, int]
    live: tuple[int, int]
    gated: tuple[bool, bool]
    experts: int

    @property
    def whole(self) -> int:
        """MAC of the layer with all channels."""
        return self.pixels * self.weights

    @property
    def weights(self) -> int:
        """Number of weights of the layer with all channels, of one expert."""
        return self.taps * self.channels[0] * self.channels[1]

    def at(self, density: Fraction) -> Fraction:
        """MAC if each list keeps exactly this share of the channels, rounded to no integer; mixing included.

        `density ** lists * weights * (pixels + experts)`: the model behind table 3.1 of Raju (2022).
        """
        return density ** sum(self.gated) * self.weights * (self.pixels + self.experts)


@dataclass(frozen=True)
class GatedMacs:
    """What an inference executes: the same for every input, but for convolutions with counted lists.

    Attributes:
        whole: of the gated convolutions with all channels and constant weights.
        convolutions: of their live channels; of `MaskedConv2D` with all channels live, the worst case.
        mixing: of experts' weights.
        gates: of the heads that score channels, and of routers.
        others: of all other layers.
    """

    whole: int
    convolutions: int
    mixing: int
    gates: int
    others: int

    @property
    def executed(self) -> int:
        return self.convolutions + self.mixing + self.gates + self.others


def lists_of(graph: Graph, prefix: str = "") -> Iterator[tuple[str, ChannelList]]:
    """(name, encoding) of lists that operators write; those in branches as `operator/branch/tensor`."""
    for op in graph.ops:
        for number, inner in enumerate(op.branches if isinstance(op, Branch) else ()):
            yield from lists_of(inner, f"{prefix}{op.name}/{number}/")
        for name in op.outputs:
            encoding = graph.tensors[name].encoding
            if isinstance(encoding, ChannelList):
                yield f"{prefix}{name}", encoding


def gated_layers(graph: Graph) -> tuple[GatedLayer, ...]:
    """In the graph's order."""
    makers = _makers(graph)
    return tuple(_layer(node, makers) for node in graph.nodes() if isinstance(node.op, GatherConv2D | MaskedConv2D))


def gated_macs(graph: Graph) -> GatedMacs:
    """Sums over the graph's operators."""
    heads = _heads(graph)
    sums = {"convolutions": 0, "mixing": 0, "gates": 0, "others": 0}
    for node in graph.nodes():
        match node.op:
            case GatherConv2D() | MaskedConv2D():
                kind = "convolutions"
            case MixWeights():
                kind = "mixing"
            case _:
                kind = "gates" if node.op.name in heads else "others"
        sums[kind] += node.op.macs(node)
    return GatedMacs(whole=sum(layer.whole for layer in gated_layers(graph)), **sums)


def executed_macs(graph: Graph, inputs: Sequence[np.ndarray]) -> GatedMacs:
    """Of one inference: counted lists as long as this input makes them."""
    return macs_of(graph, evaluate_all(graph, inputs))


def macs_of(graph: Graph, values: Mapping[str, np.ndarray]) -> GatedMacs:
    """The same of the codes of all tensors; branches count as the one that has most."""
    worst, spared = gated_macs(graph), 0
    for node in graph.nodes():
        if isinstance(node.op, MaskedConv2D):
            lists = [node.optional(index) for index in (3, 2)]
            every = (node.input(1).shape[0], node.input(1).shape[3])
            live = [n if t is None else int(values[t.name].flat[0]) for n, t in zip(every, lists, strict=True)]
            spared += node.op.macs(node) - node.op.live_macs(node, *live)
    return replace(worst, convolutions=worst.convolutions - spared)


def macs_at(layers: Sequence[GatedLayer], density: Fraction) -> Fraction:
    """MAC of these layers at a density; see `GatedLayer.at`."""
    return sum((layer.at(density) for layer in layers), Fraction(0))


def _makers(graph: Graph) -> dict[str, Node]:
    return {name: node for node in graph.nodes() for name in node.op.outputs}


def _layer(node: Node, makers: dict[str, Node]) -> GatedLayer:
    op, weights = node.op, node.input(1)
    assert isinstance(op, GatherConv2D | MaskedConv2D)
    maker = makers.get(weights.name)
    mixes = maker is not None and isinstance(maker.op, MixWeights)
    _, rows, columns, live_out = node.output.shape
    if mixes:
        assert maker is not None
        experts, outputs, kernel_h, kernel_w, inputs = maker.input(1).shape
        lists = (maker.optional(3), maker.optional(2))
    else:
        experts, (outputs, kernel_h, kernel_w, inputs) = 0, weights.shape
        lists = (node.optional(3), node.optional(2))
    return GatedLayer(
        op.name,
        rows * columns,
        kernel_h * kernel_w,
        (outputs, inputs),
        (live_out, node.input(0).shape[3]),
        (lists[0] is not None, lists[1] is not None),
        experts,
    )


def _heads(graph: Graph) -> set[str]:
    """Operators between a statistic of channels and what chooses or mixes by it."""
    makers = _makers(graph)
    wanted = [node.op.inputs[0] for node in graph.nodes() if _decides(node)]
    found: set[str] = set()
    while wanted:
        maker = makers.get(wanted.pop())
        if maker is None or maker.op.name in found or isinstance(maker.op, ChannelStatistic):
            continue
        found.add(maker.op.name)
        wanted += [name for name in maker.op.inputs if name]
    return found


def _decides(node: Node) -> bool:
    return isinstance(node.op, MixWeights | PositiveChannels) or (isinstance(node.op, TopK) and node.op.by_position)
