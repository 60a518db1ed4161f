"""Gated convolutions that cost more than all of their channels do: computed with all, of which the live ones are kept.

The means are operators that there are: inputs are scattered among zeros, outputs gathered. So lists, and whatever reads
the live channels, stay as they are. Factors of all channels are what the gate chooses winners from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.tensor import Tensor
from tinygen.lowering.select import COMPACT, Family, choose


class Gates(StrEnum):
    """Which gated convolutions compute their live channels alone: those where that saves cycles, or all."""

    AUTO = "auto"
    ALWAYS = "always"


@dataclass(frozen=True)
class DenseGate:
    """A gated convolution that is computed with all channels.

    Attributes:
        name: the layer's.
        live, channels: outputs that live, of how many.
        gated, dense: predicted cycles of the live channels alone, and of all with what scatters and gathers; both
            without the gate, which runs in either case.
    """

    name: str
    live: int
    channels: int
    gated: float
    dense: float

    def __str__(self) -> str:
        return (
            f"{self.name}: its gate keeps {self.live} of {self.channels} channels, which takes about "
            f"{self.gated / self.dense:.2f} times the cycles of computing all: all are computed "
            f"(--gates always computes live ones alone)"
        )


@dataclass(frozen=True)
class _Rewritten:
    """What stands for a layer: operators, and the tensors that they add."""

    ops: tuple[Op, ...]
    tensors: dict[str, Tensor]


def dense_gates(graph: Graph, family: str, isa: Collection[str]) -> tuple[Graph, tuple[DenseGate, ...]]:
    """The graph, which means the same, and the layers that changed. Those in branches, and mixed weights, stay.

    Args:
        family: of kernels; only tinygen's own know what they cost.
        isa: what the board's core offers.
    """
    if family not in (Family.TINYGEN, COMPACT):
        return graph, ()
    makers = {name: op for op in graph.ops for name in op.outputs}
    ops: list[Op] = []
    tensors, found = dict(graph.tensors), []
    for node in graph.nodes():
        instead = _instead(node, makers, graph)
        if instead is None:
            ops.append(node.op)
            continue
        draft = Graph(graph.name, {**graph.tensors, **instead.tensors}, instead.ops, (), ())
        gated = choose(node, family, isa).fastest.cycles
        dense = sum(choose(draft.node(op), family, isa).fastest.cycles for op in instead.ops)
        if dense >= gated:
            ops.append(node.op)
            continue
        ops += instead.ops
        tensors |= instead.tensors
        found.append(DenseGate(node.op.name, node.output.shape[3], node.input(1).shape[0], gated, dense))
    changed = replace(graph, ops=tuple(ops), tensors=tensors)
    if found:
        changed.validate()
    return (changed if found else graph), tuple(found)


def _instead(node: Node, makers: dict[str, Op], graph: Graph) -> _Rewritten | None:
    """None for what is no gated convolution with constant weights."""
    op = node.op
    live_out = node.optional(3)
    if not isinstance(op, GatherConv2D) or live_out is None or not node.input(1).is_constant:
        return None
    gamma = node.optional(4)
    scores = "" if gamma is None else _scores(makers.get(gamma.name), gamma.name)
    if scores is None:
        return None
    weights, y = node.input(1), node.output
    tensors: dict[str, Tensor] = {}
    ops: list[Op] = []
    x = node.input(0)
    live_in = node.optional(2)
    if live_in is not None:
        x = _tensor(graph, f"{y.name}.inputs", replace(x, shape=(*x.shape[:3], weights.shape[3])))
        tensors[x.name] = x
        ops.append(ScatterChannels(name=f"{op.name}_inputs", inputs=(op.inputs[0], live_in.name), outputs=(x.name,)))
    whole = _tensor(graph, f"{y.name}.whole", replace(y, shape=(*y.shape[:3], weights.shape[0])))
    tensors[whole.name] = whole
    ops.append(_convolution(op, (x.name, weights.name), whole.name, scores))
    # It keeps the layer's name, by which reports know it, and the last operator the tensor's.
    ops.append(GatherChannels(name=f"{op.name}_live", inputs=(whole.name, live_out.name), outputs=(y.name,)))
    return _Rewritten(tuple(ops), tensors)


def _convolution(op: GatherConv2D, inputs: tuple[str, str], output: str, scores: str) -> Op:
    """Of all channels."""
    if scores or op.bias:
        return replace(op, inputs=(*inputs, "", "", scores) if scores else inputs, outputs=(output,))
    shared = {one.name: getattr(op, one.name) for one in fields(Convolution) if one.name not in ("inputs", "outputs")}
    return IntegerConv2D(**shared, inputs=inputs, outputs=(output,), epilogue=op.epilogue)


def _scores(maker: Op | None, gamma: str) -> str | None:
    """What winners are chosen from; None where factors are no winners."""
    chosen = isinstance(maker, TopK) and maker.by_position and maker.outputs[0] == gamma
    return maker.inputs[0] if chosen and maker is not None else None


def _tensor(graph: Graph, name: str, like: Tensor) -> Tensor:
    """One more, of a free name."""
    return replace(like, name=next(free for free in _names(name) if free not in graph.tensors), data=None)


def _names(name: str) -> Iterator[str]:
    yield name
    for number in range(2, 1000):
        yield f"{name}_{number}"
