"""Converts a network over a window of frames to one that takes new frames in each step.

Each step takes the newest frames, computes the new frames of every tensor, and keeps the old frames that later steps
read again: the scheme of Rybakov et al., "Streaming keyword spotting on mobile devices", Interspeech 2020 (section 3,
"Model streaming and quantization"), on the finished integer network. Nothing is approximated: after a whole window,
outputs are code for code those of the window model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.errors import TinygenError, UnsupportedError
from tinygen.ir.encodings import Affine, Encoding, IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network, Switch
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.rows import RowWindow, row_shape
from tinygen.ir.state import State
from tinygen.ir.tensor import Shape, Tensor
from tinygen.passes.frames import Flow, Parts, Rule, Span, rule_of
from tinygen.passes.remove_dead import remove_dead
from tinygen.passes.space_to_batch import without_batches

_TIME = 1
"""The input's axis of frames."""


def to_streaming(model: Graph | Network, *, hop: int) -> Network:
    """The network that takes `hop` new frames in each step, and keeps the earlier frames that it needs.

    Convolutions and pools over time keep the frames that their next windows share with this one; parallel paths of
    different delay keep the frames that align them; a mean over time, and a dense layer over flattened frames, keep all
    frames they cover, except the new ones; everything else keeps nothing. `Branch` operators read whole windows, which
    are kept outside of them, and compute all frames in each step; thresholds are unchanged. States start as zeros (the
    code nearest to zero). After T frames, each output equals that of the model on the last T frames, code for code;
    earlier outputs are meaningless. Outputs that consist of frames are whole windows, too.

    Args:
        model: with one input of T frames: [1, T, ...], any encoding, without padding in time. Each switch is converted
            separately, and has its own states.
        hop: frames per step, 1 to T; a multiple of every stride in time that the model has, all taken together.

    Raises:
        TinygenError: hop is out of range, or the model's input is not a window of frames.
        UnsupportedError: an operator cannot be streamed; the error says which and why.
    """
    network = Network.of(model) if isinstance(model, Graph) else model
    network.validate()
    switches = []
    for switch in network:
        try:
            switches.append(Switch(switch.name, _Conversion(without_batches(switch.graph), hop).run()))
        except TinygenError as error:
            if network.is_switchable:
                error.where = f"switch '{switch.name}'" + (f": {error.where}" if error.where else "")
            raise
    streaming = replace(network, switches=tuple(switches))
    streaming.validate()
    return streaming


def zero_codes(encoding: Encoding, shape: Shape) -> np.ndarray:
    """Codes that stand for zero, or for the value nearest to it (of two, the lower code)."""
    if isinstance(encoding, Affine):
        spread = [1] * len(shape)
        if encoding.axis is not None:
            spread[encoding.axis] = -1
        return np.broadcast_to(np.array(encoding.zero_point, encoding.dtype).reshape(spread), shape).copy()
    code = 0
    if isinstance(encoding, IntegerEncoding):
        low, high = encoding.code_range
        codes = np.arange(low, high + 1)
        code = codes[np.abs(encoding.integers(codes)).argmin()]
    return np.full(shape, code, encoding.dtype)


@dataclass(frozen=True)
class _Stretch:
    """A tensor that is a range of another one's frames."""

    source: str
    first: int


class _Conversion:
    """Conversion of one graph: first finds what each operator reads, then writes the operators."""

    def __init__(self, graph: Graph, hop: int) -> None:
        self.graph, self.hop = graph, hop
        self.flows: dict[str, Flow] = {}
        self.stretches: dict[str, _Stretch] = {}
        self.rules: list[Rule | None] = []
        self.kept: dict[str, int] = {}
        """Of each tensor, how many frames of before some operator reads."""
        self.tensors = {name: tensor for name, tensor in graph.tensors.items() if tensor.is_constant}
        self.ops: list[Op] = []
        self.states: list[State] = []
        self.joined: dict[str, str] = {}
        """For tensors with frames of before: the tensor of those and the new ones."""
        self.windows: dict[tuple[str, Span], str] = {}
        self.renamed: dict[str, str] = {}
        self.op_names = {op.name for op in graph.ops}
        self.names = set(graph.tensors)

    def run(self) -> Graph:
        self._begin()
        for node in self.graph.nodes():
            self._plan(node)
        for name in self.graph.outputs:
            self._want(name, None)
        for name in self.graph.inputs:
            self._write(self.graph.tensors[name])
        for node, rule in zip(self.graph.nodes(), self.rules, strict=True):
            self._emit(node, rule)
        for name in self.graph.outputs:
            self._finish(name)
        graph = replace(self.graph, tensors=self.tensors, ops=tuple(self.ops), states=tuple(self.states))
        return remove_dead(graph)

    def _begin(self) -> None:
        graph = self.graph
        kept = next((state for state in graph.states if not state.threshold), None)
        if kept is not None:
            raise UnsupportedError(f"keeps '{kept.tensor}' already: it is streaming as it is", where=graph.name)
        self.tensors |= {state.tensor: graph.tensors[state.tensor] for state in graph.states}
        self.states += graph.states
        if len(graph.inputs) != 1:
            raise UnsupportedError(f"has {len(graph.inputs)} inputs; one window of frames is wanted", where=graph.name)
        (name,) = graph.inputs
        shape = graph.tensors[name].shape
        if len(shape) < 2 or shape[0] != 1:
            raise UnsupportedError(
                f"is {graph.tensors[name].describe()}, no window [1, frames, ...]", where=f"input '{name}'"
            )
        if name in graph.outputs:
            raise UnsupportedError("is an output, too", where=f"input '{name}'")
        frames = shape[_TIME]
        if not 1 <= self.hop <= frames:
            raise TinygenError(
                f"a hop of {self.hop} frames, in windows of {frames}", where=graph.name, fix=f"Choose 1 to {frames}."
            )
        if self.hop < frames:
            self.flows[name] = Flow(_TIME, frames, self.hop)

    def _plan(self, node: Node) -> None:
        """Finds the rule of an operator, and records the frames that it reads; None if the operator is unchanged."""
        flows = [self.flows.get(name) for name in node.op.inputs]
        if not any(flows):
            for name in node.op.inputs:
                self._want(name, None)
            self.rules.append(Rule(node.op, (None,) * len(flows), (None,) * len(node.outputs)))
            return
        rule = rule_of(node.op, node, flows)
        if isinstance(rule, Parts):
            self._cut(node, rule)
            self.rules.append(None)
            return
        for name, span in zip(node.op.inputs, rule.reads, strict=True):
            self._want(name, span)
        self.flows |= {t.name: flow for t, flow in zip(node.outputs, rule.flows, strict=True) if flow}
        self.rules.append(rule)

    def _cut(self, node: Node, parts: Parts) -> None:
        source = node.op.inputs[0]
        flow = self.flows[source]
        for name, (first, end) in zip(node.op.outputs, parts.spans, strict=True):
            self.stretches[name] = _Stretch(source, first)
            if end - first > flow.fresh:
                self.flows[name] = replace(flow, frames=end - first)

    def _place(self, name: str, span: Span | None) -> tuple[str, Span | None]:
        """The frames of a computed tensor that are meant; None for all frames if none is kept."""
        while name in self.stretches:
            stretch = self.stretches[name]
            first, end = span or (0, self._frames(name))
            name, span = stretch.source, (stretch.first + first, stretch.first + end)
        if span is None and name in self.flows:
            span = self.flows[name].whole
        return name, span

    def _frames(self, name: str) -> int:
        """Frames of a range in the window."""
        source = name
        while source in self.stretches:
            source = self.stretches[source].source
        return self.graph.tensors[name].shape[self.flows[source].axis]

    def _want(self, name: str, span: Span | None) -> None:
        name, span = self._place(name, span)
        if span is not None:
            older = self.flows[name].newest[0] - span[0]
            self.kept[name] = max(self.kept.get(name, 0), older)

    def _emit(self, node: Node, rule: Rule | None) -> None:
        if rule is None:
            return
        inputs = tuple(self._read(*pair) for pair in zip(node.op.inputs, rule.reads, strict=True))
        outputs = tuple(self._new_name(tensor.name) for tensor in node.outputs)
        self.ops.append(replace(rule.op, inputs=inputs, outputs=outputs))
        for tensor in node.outputs:
            self._write(tensor)

    def _new_name(self, name: str) -> str:
        """Name of a tensor's new frames. Outputs of the model stay whole, and keep their names."""
        if name not in self.graph.outputs or name not in self.flows:
            return name
        if name not in self.renamed:
            self.renamed[name] = self._unused(f"{name}_new")
        return self.renamed[name]

    def _write(self, tensor: Tensor) -> None:
        """Adds a tensor's new frames and, if earlier frames are read, a state that holds those."""
        flow, name = self.flows.get(tensor.name), self._new_name(tensor.name)
        if flow is None:
            self.tensors[name] = tensor
            return
        self._add(name, tensor, flow, flow.fresh)
        kept = self.kept.get(tensor.name, 0)
        if not kept:
            self.joined[tensor.name] = name
            return
        state = self._add(self._unused(f"{tensor.name}_before"), tensor, flow, kept)
        joined = self._add(self._unused(f"{tensor.name}_joined"), tensor, flow, kept + flow.fresh)
        self.joined[tensor.name] = joined
        self.ops.append(
            Concatenation(name=self._op_name("join"), inputs=(state, name), outputs=(joined,), axis=flow.axis)
        )
        update = self._window(tensor.name, (flow.frames - kept, flow.frames))
        self.states.append(State(state, update, zero_codes(tensor.encoding, self.tensors[state].shape)))

    def _read(self, name: str, span: Span | None) -> str:
        if not name:
            return name
        name, span = self._place(name, span)
        return name if span is None else self._window(name, span)

    def _window(self, name: str, span: Span) -> str:
        """A tensor that holds the given frames of a tensor."""
        flow, joined = self.flows[name], self.joined[name]
        begin = flow.frames - self.tensors[joined].shape[flow.axis]
        if span == (begin, flow.frames):
            return joined
        if (name, span) not in self.windows:
            self.windows[name, span] = self._slice(
                joined, flow, span[0] - begin, span[1] - span[0], self._unused(f"{name}_{span[0]}_{span[1]}")
            )
        return self.windows[name, span]

    def _slice(self, source: str, flow: Flow, first: int, count: int, name: str) -> str:
        """`count` frames of a tensor from `first` on. Reshapes frames to rows and back, which costs nothing."""
        tensor = self.tensors[source]
        window = self._add(name, tensor, flow, count)
        if flow.axis == _TIME and len(tensor.shape) == 4:
            self.ops.append(self._row_window(source, window, first, count))
            return window
        shapes = (row_shape(self.tensors[n].shape, flow.axis) for n in (source, window))
        image = Tensor(self._unused(f"{name}_rows_of"), next(shapes), tensor.encoding)
        part = Tensor(self._unused(f"{name}_rows"), next(shapes), tensor.encoding)
        self.tensors |= {image.name: image, part.name: part}
        self.ops += [
            Reshape(name=self._op_name("rows"), inputs=(source,), outputs=(image.name,), shape=image.shape),
            self._row_window(image.name, part.name, first, count),
            Reshape(
                name=self._op_name("rows"), inputs=(part.name,), outputs=(window,), shape=self.tensors[window].shape
            ),
        ]
        return window

    def _row_window(self, source: str, window: str, first: int, count: int) -> RowWindow:
        name = self._op_name("frames")
        return RowWindow(name=name, inputs=(source,), outputs=(window,), first=first, count=count)

    def _finish(self, name: str) -> None:
        """Writes an output of the model that holds earlier frames, or another tensor's frames."""
        if name in self.tensors:
            return
        source, span = self._place(name, None)
        assert span is not None
        flow, joined = self.flows[source], self.joined[source]
        begin = flow.frames - self.tensors[joined].shape[flow.axis]
        self._slice(joined, flow, span[0] - begin, span[1] - span[0], name)

    def _add(self, name: str, like: Tensor, flow: Flow, frames: int) -> str:
        shape = (*like.shape[: flow.axis], frames, *like.shape[flow.axis + 1 :])
        self.tensors[name] = Tensor(name, shape, like.encoding)
        return name

    def _unused(self, name: str) -> str:
        """A tensor name that no other tensor has."""
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    def _op_name(self, kind: str) -> str:
        name = next(f"{kind}_{i}" for i in range(len(self.op_names) + 1) if f"{kind}_{i}" not in self.op_names)
        self.op_names.add(name)
        return name
