"""Gated convolutions as convolutions of all channels, whose dead ones then become zero: the same codes.

Consecutive layers of this kind keep all channels between them, zeros where they are dead. Whatever else reads live
channels gets them gathered. The factors of all channels are the scores that the gate chooses winners from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace

from tinygen.errors import TinygenError
from tinygen.ir.encodings import ChannelList
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mask_channels import MaskChannels
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.tensor import Tensor

_READERS = (GatherConv2D, ChannelStatistic, ScatterChannels)
"""Operators that read a tensor with all channels as well as one of live channels with their list."""


def gated_nodes(graph: Graph) -> Iterator[Node]:
    """Convolutions with constant weights of which a list chooses outputs or inputs; those of branches are left out."""
    for node in graph.nodes():
        known = type(node.op) in (GatherConv2D, MaskedConv2D)
        listed = known and (node.optional(2) or node.optional(3)) is not None
        if listed and node.input(1).is_constant:
            yield node


def can_be_dense(graph: Graph, name: str) -> bool:
    """Whether a gated convolution may be computed with all channels."""
    rewriting = _Rewriting(graph, {name})
    try:
        rewriting.rewritten().validate()
    except TinygenError:
        return False
    return not rewriting.refused


def dense_graph(graph: Graph, names: Collection[str]) -> Graph:
    """The graph with these layers computed with all channels.

    Args:
        names: of layers for which `can_be_dense`.
    """
    return _Rewriting(graph, names).rewritten() if names else graph


def whole_node(node: Node) -> Node:
    """A gated convolution as the layer without a gate: all channels, without gammas."""
    op, x, weights, y = node.op, node.input(0), node.input(1), node.output
    wide = replace(x, shape=(*x.shape[:3], weights.shape[3]))
    made = replace(y, shape=(*y.shape[:3], weights.shape[0]))
    return Node(_plain(op, (x.name, weights.name), y.name), (wide, weights), (made,))


def _plain(op: Op, inputs: tuple[str, str], output: str) -> Conv2D:
    """The convolution of all channels; a bias becomes part of the offset."""
    assert isinstance(op, GatherConv2D | MaskedConv2D)
    shared = {one.name: getattr(op, one.name) for one in fields(Convolution) if one.name not in ("inputs", "outputs")}
    epilogue = op.epilogue
    if isinstance(op, GatherConv2D) and op.bias:
        count = len(op.bias)
        multiplier, offset = (v if len(v) > 1 else v * count for v in (op.epilogue.multiplier, op.epilogue.offset))
        moved = tuple(o + m * b for o, m, b in zip(offset, multiplier, op.bias, strict=True))
        epilogue = replace(op.epilogue, offset=moved)
    return Conv2D(**shared, inputs=inputs, outputs=(output,), epilogue=epilogue)


@dataclass
class _Whole:
    """The tensor of all channels of a layer's output, dead ones zero, and the list of the live ones."""

    tensor: str
    live: str


class _Rewriting:
    """One graph, and layers to compute with all channels.

    Attributes:
        refused: whether one of the layers stayed as it was.
    """

    def __init__(self, graph: Graph, names: Collection[str]) -> None:
        self.graph, self.names = graph, names
        self.makers: Mapping[str, Op] = {name: op for op in graph.ops for name in op.outputs}
        self.tensors, self.ops = dict(graph.tensors), list[Op]()
        self.wholes: dict[str, _Whole] = {}
        self.scattered: dict[tuple[str, str], str] = {}
        self.refused = False

    def rewritten(self) -> Graph:
        for node in self.graph.nodes():
            self._add(node)
        return replace(self.graph, ops=tuple(self.ops), tensors=self.tensors)

    def _add(self, node: Node) -> None:
        op = node.op
        if op.name in self.names and isinstance(op, MaskedConv2D):
            self._masked(node)
        elif op.name in self.names and isinstance(op, GatherConv2D) and (scores := self._scores(node)) is not None:
            self._gathered(node, op, scores)
        elif isinstance(op, ChannelStatistic) and (whole := self._whole(op)):
            self.ops.append(replace(op, inputs=(whole,)))
        elif isinstance(op, ScatterChannels) and self._whole(op) == op.outputs[0]:
            pass  # the layer writes its output
        else:
            self.refused |= op.name in self.names
            self.ops.append(op)

    def _masked(self, node: Node) -> None:
        op, x, y = node.op, node.op.inputs[0], node.output
        live_in, live_out = node.optional(2), node.optional(3)
        if live_in is not None and not self._is_masked(x, live_in.name):
            masked = self._tensor(f"{y.name}.inputs", node.input(0))
            self.ops.append(
                MaskChannels(name=self._name(f"{op.name}_inputs"), inputs=(x, live_in.name), outputs=(masked,))
            )
            x = masked
        made = y.name if live_out is None else self._tensor(f"{y.name}.whole", y)
        self.ops.append(_plain(op, (x, op.inputs[1]), made))
        if live_out is not None:
            name = self._name(f"{op.name}_masked")
            self.ops.append(MaskChannels(name=name, inputs=(made, live_out.name), outputs=(y.name,)))

    def _is_masked(self, x: str, live: str) -> bool:
        """Whether what writes a tensor stores zeros in the channels that a list leaves out."""
        maker = self.makers.get(x)
        lists = {MaskedConv2D: 3, MaskChannels: 1}
        index = lists.get(type(maker)) if maker is not None else None
        return index is not None and maker is not None and maker.inputs[index : index + 1] == (live,)

    def _gathered(self, node: Node, op: GatherConv2D, scores: str) -> None:
        weights, y, live_out = node.input(1), node.output, _partial(node, 3)
        x = self._inputs(node)
        made = y.name
        if live_out is not None:
            made = self._tensor(f"{y.name}.whole", replace(y, shape=(*y.shape[:3], weights.shape[0])))
        inputs = (x, op.inputs[1])
        dense = replace(op, inputs=(*inputs, "", "", scores), outputs=(made,)) if scores else _plain(op, inputs, made)
        self.ops.append(dense)
        if live_out is not None:
            self._keep(node, made, live_out.name)

    def _inputs(self, node: Node) -> str:
        """The tensor of all input channels."""
        op, x, live_in = node.op, node.input(0), _partial(node, 2)
        if live_in is None:
            return x.name
        whole = self._whole(op)
        if whole:
            return whole
        place = (x.name, live_in.name)
        if place not in self.scattered:
            wide = replace(x, shape=(*x.shape[:3], node.input(1).shape[3]))
            self.scattered[place] = self._tensor(f"{node.output.name}.inputs", wide)
            outputs = (self.scattered[place],)
            self.ops.append(ScatterChannels(name=self._name(f"{op.name}_inputs"), inputs=place, outputs=outputs))
        return self.scattered[place]

    def _keep(self, node: Node, made: str, live: str) -> None:
        """Masks and gathers what a layer made, as its readers want it."""
        y, name = node.output, node.op.name
        readers = [op for op in self.graph.ops if y.name in op.inputs]
        whole = [op for op in readers if self._reads_whole(op, y.name, live)]
        scatters = [op.outputs[0] for op in whole if isinstance(op, ScatterChannels)]
        if whole:
            masked = scatters[0] if scatters else self._tensor(f"{y.name}.all", self.tensors[made])
            self.ops.append(MaskChannels(name=self._name(f"{name}_masked"), inputs=(made, live), outputs=(masked,)))
            self.wholes[y.name] = _Whole(masked, live)
            made = masked
        if len(whole) < len(readers) or len(scatters) > 1 or y.name in self.graph.sinks:
            # The last operator has the tensor's name, the first the layer's, by which reports know it.
            name = self._name(f"{name}_gathered")
            self.ops.append(GatherChannels(name=name, inputs=(made, live), outputs=(y.name,)))

    def _reads_whole(self, op: Op, name: str, live: str) -> bool:
        """Whether an operator can read all channels of a tensor instead of the listed ones."""
        if not isinstance(op, _READERS) or op.inputs.count(name) > 1 or op.inputs[0] != name:
            return False
        if isinstance(op, GatherConv2D):
            return op.name in self.names and self.graph.node(op).input(1).is_constant and op.inputs[2:3] == (live,)
        return op.inputs[1:2] == (live,)

    def _whole(self, op: Op) -> str:
        """The tensor of all channels that an operator reads instead of its first input; "" for none."""
        found = self.wholes.get(op.inputs[0])
        return found.tensor if found and self._reads_whole(op, op.inputs[0], found.live) else ""

    def _scores(self, node: Node) -> str | None:
        """The scores that a layer's gammas are winners of, "" without gammas; None where gammas are something else."""
        gamma = node.optional(4)
        if not node.input(1).is_constant:
            return None
        live_out = node.optional(3)
        if gamma is None or live_out is None:
            return "" if gamma is None else gamma.name
        maker = self.makers.get(gamma.name)
        chosen = isinstance(maker, TopK) and maker.by_position and maker.outputs == (gamma.name, live_out.name)
        return maker.inputs[0] if chosen and maker is not None else None

    def _name(self, name: str) -> str:
        """A free name of an operator."""
        known = {op.name for op in (*self.graph.ops, *self.ops)}
        return next(one for one in _names(name) if one not in known)

    def _tensor(self, name: str, like: Tensor) -> str:
        """One more, of a free name."""
        free = next(one for one in _names(name) if one not in self.tensors)
        self.tensors[free] = replace(like, name=free, data=None)
        return free


def _partial(node: Node, index: int) -> Tensor | None:
    """The list at an input, unless it has all channels."""
    live = node.optional(index)
    complete = live is not None and isinstance(live.encoding, ChannelList) and live.size == live.encoding.of
    return None if complete else live


def _names(name: str) -> Iterator[str]:
    yield name
    for number in range(2, 1000):
        yield f"{name}_{number}"
