"""Whether gates save cycles: predicted cycles of a gated convolution with its gate, and of the ungated layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.top_k import TopK
from tinygen.lowering.program import Program, Step
from tinygen.lowering.select import Family, choose

_GATE = (TopK, IntegerFullyConnected, ChannelStatistic)
"""What a gate is made of, from its list back to the layer's input."""


@dataclass(frozen=True)
class GateCost:
    """Cost of a gated convolution.

    Attributes:
        name: the layer's.
        live, channels: number of live outputs, and of all.
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


def gate_costs(program: Program, family: str = Family.TINYGEN) -> Iterator[GateCost]:
    """Costs of every gated convolution with constant weights (for mixed weights there is no ungated layer).

    The dense layer gets scratch for as many rows as the gated one has: with less, weights are read more often.

    Args:
        program: its branches are left out.
        family: of the dense layer's kernel.
    """
    makers = {name: step for step in program.steps for name in step.node.op.outputs}
    for step in program.steps:
        node = step.node
        live = node.optional(3) if type(node.op) is GatherConv2D else None
        if live is None or not node.input(1).is_constant:
            continue
        gate = sum(part.plan.cycles for part in _gate(makers, live.name))
        channels, _, _, inputs = node.input(1).shape
        room = step.plan.scratch_bytes * inputs // node.input(0).shape[3]
        dense = replace(choose(_dense(node), family, program.isa), room=room).fastest
        yield GateCost(node.op.name, live.size, channels, step.plan.cycles + gate, dense.cycles)


def gate_notes(program: Program, family: str = Family.TINYGEN) -> list[str]:
    """A sentence for each gate that costs more than it saves."""
    return [str(cost) for cost in gate_costs(program, family) if cost.gated > cost.dense]


def _gate(makers: Mapping[str, Step], name: str) -> Iterator[Step]:
    for kind in _GATE:
        step = makers.get(name)
        if step is None or not isinstance(step.node.op, kind):
            return
        yield step
        name = step.node.input(0).name


def _dense(node: Node) -> Node:
    """The ungated layer, with all its channels."""
    op, x, weights, y = node.op, node.input(0), node.input(1), node.output
    assert isinstance(op, GatherConv2D)
    shared = {one.name: getattr(op, one.name) for one in fields(Convolution) if one.name not in ("inputs", "outputs")}
    wide = replace(x, shape=(*x.shape[:3], weights.shape[3]))
    made = replace(y, shape=(*y.shape[:3], weights.shape[0]))
    dense = IntegerConv2D(**shared, inputs=(x.name, weights.name), outputs=(y.name,), epilogue=op.epilogue)
    return Node(dense, (wide, weights), (made,))
