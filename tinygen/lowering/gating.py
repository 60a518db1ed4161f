"""Whether gates pay: predicted cycles of a gated convolution with its gate, and of the layer without one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, replace

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.top_k import TopK
from tinygen.lowering.select import Family, choose

_GATE = (TopK, IntegerFullyConnected, ChannelStatistic)
"""What a gate is made of, from its list back to the layer's input."""


@dataclass(frozen=True)
class GateCost:
    """Of a gated convolution.

    Attributes:
        name: the layer's.
        live, channels: outputs that live, of how many.
        gated, dense: predicted cycles with the gate, and of the layer that computes all channels.
    """

    name: str
    live: int
    channels: int
    gated: float
    dense: float

    def __str__(self) -> str:
        return (
            f"{self.name}: its gate keeps {self.live} of {self.channels} channels, and takes about "
            f"{self.gated / self.dense:.2f} times the cycles of the layer without one: keep fewer, or drop the gate"
        )


def gate_costs(graph: Graph, isa: Collection[str]) -> Iterator[GateCost]:
    """Of every gated convolution with constant weights; mixed weights have no layer without a gate.

    Args:
        isa: what the board's core offers.
    """
    makers = {name: node for node in graph.nodes() for name in node.op.outputs}
    for node in graph.nodes():
        live = node.optional(3) if isinstance(node.op, GatherConv2D) else None
        if live is None or not node.input(1).is_constant:
            continue
        gate = sum(_cycles(part, isa) for part in _gate(makers, live.name))
        channels = node.input(1).shape[0]
        yield GateCost(node.op.name, live.size, channels, _cycles(node, isa) + gate, _cycles(_dense(node), isa))


def gate_notes(graph: Graph, isa: Collection[str]) -> list[str]:
    """A sentence about every gate that costs more than it saves."""
    return [str(cost) for cost in gate_costs(graph, isa) if cost.gated > cost.dense]


def _cycles(node: Node, isa: Collection[str]) -> float:
    return choose(node, Family.TINYGEN, isa).fastest.cycles


def _gate(makers: dict[str, Node], name: str) -> Iterator[Node]:
    for kind in _GATE:
        node = makers.get(name)
        if node is None or not isinstance(node.op, kind):
            return
        yield node
        name = node.input(0).name


def _dense(node: Node) -> Node:
    """The layer with all of its channels."""
    op, x, weights, y = node.op, node.input(0), node.input(1), node.output
    assert isinstance(op, GatherConv2D)
    shared = {one.name: getattr(op, one.name) for one in fields(Convolution) if one.name not in ("inputs", "outputs")}
    wide = replace(x, shape=(*x.shape[:3], weights.shape[3]))
    made = replace(y, shape=(*y.shape[:3], weights.shape[0]))
    dense = IntegerConv2D(**shared, inputs=(x.name, weights.name), outputs=(y.name,), epilogue=op.epilogue)
    return Node(dense, (wide, weights), (made,))
