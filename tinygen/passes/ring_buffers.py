"""Stores kept frames in front of new ones, so that joining and slicing frames needs no copies.

Streaming models keep the last frames of a tensor in a state, append new frames, compute on all, and drop the oldest:
CONCATENATION(state, new) and STRIDED_SLICE(joined) -> state. As operators these copy every frame twice in each step.
Here the joined tensor has one buffer, which begins with the state; the new frames are written behind it, windows are
pointers into it, and at the end of a step all frames but the oldest move to the front once
(`lowering.states.final_moves`).

A true ring buffer with a moving head would save that last copy: on the four models of pymicro-wakeword 2.8 to 3.7 % of
the average step's instructions (f746zg). If frames move back to the front now and then, the longest step gains nothing;
if they never do, kernels need their weights stored twice, to start at any row.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.rows import JoinRows, RowWindow, row_shape
from tinygen.ir.tensor import Tensor


def ring_buffers(graph: Graph) -> Graph:
    """The same graph, with states joined to new frames, and ranges of rows taken, without copies.

    Unchanged: outputs of the model, which must survive the step; a state's update that is not cut from that state's own
    frames; and small slices of tensors that are not kept otherwise. A few networks need a little more arena: the buffer
    of new frames is reserved from the first layer on.
    """
    return _Rewriter(graph).run() if graph.states else graph


@dataclass(frozen=True)
class _Cut:
    """A slice of consecutive whole rows."""

    axis: int
    first: int


class _Rewriter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors = dict(graph.tensors)
        self.ops: list[Op] = []
        self.readers = Counter(name for op in graph.ops for name in op.inputs)
        self.writers = {name: op for op in graph.ops for name in op.outputs}
        self.updates = Counter(state.update for state in graph.states)
        self.states = {state.tensor: state for state in graph.states}
        self.owners: dict[str, str] = {}
        """The state whose frames stand in front of a joined tensor."""
        self.parts: set[str] = set()

    def run(self) -> Graph:
        for node in self.graph.nodes():
            op = node.op
            if isinstance(op, StridedSlice) and (cut := _cut(node)) and self._may_be_window(node):
                self._window(node, cut)
            elif type(op) is Concatenation and self._may_be_joined(node):
                self._join(node)
            else:
                self.ops.append(op)
        return replace(self.graph, tensors=self.tensors, ops=tuple(self.ops))

    def _may_be_window(self, node: Node) -> bool:
        source, output = node.op.inputs[0], node.op.outputs[0]
        if node.input(0).is_constant or {source, output} & set(self.graph.outputs):
            return False
        # Two states that overlap could not both be moved.
        owner = self.owners.get(source)
        if output in self.updates:
            return owner is not None and self.states[owner].update == output
        return owner is not None or 2 * node.output.nbytes >= node.input(0).nbytes

    def _may_be_joined(self, node: Node) -> bool:
        """Whether it joins frames of one state with new frames that need no buffer elsewhere."""
        op, whole = node.op, node.output
        assert isinstance(op, Concatenation)
        if math.prod(whole.shape[: op.axis]) != 1 or any(t and t.encoding != whole.encoding for t in node.inputs):
            return False
        kept = [name for name in op.inputs if name in self.states]
        if kept != [op.inputs[0]] or kept[0] in self.parts or len(set(op.inputs)) < len(op.inputs):
            return False
        update = self.states[kept[0]].update
        inside = self._inside(whole.name)
        return (
            update in inside
            and self.updates[update] == 1
            and not (inside | set(op.inputs)) & set(self.graph.outputs)
            and all(self._may_be_part(name) for name in op.inputs[1:])
        )

    def _may_be_part(self, name: str) -> bool:
        """Whether the tensor can be written directly into the joined buffer."""
        if self.tensors[name].is_constant or name in self.parts or name in self.updates:
            return False
        writer = self.writers.get(name)
        if isinstance(writer, Reshape):
            source = writer.inputs[0]
            fresh = not isinstance(self.writers.get(source), Reshape | RowWindow | StridedSlice | JoinRows)
            alone = self.readers[source] == 1 and source not in self.graph.sinks and source not in self.states
            return fresh and alone and not self.tensors[source].is_constant
        return not isinstance(writer, RowWindow | StridedSlice | JoinRows)

    def _inside(self, name: str) -> set[str]:
        """The tensor, its reshaped forms, and its slices."""
        found = {name}
        for op in self.graph.ops:
            if isinstance(op, Reshape | RowWindow | StridedSlice) and op.inputs[0] in found:
                found.add(op.outputs[0])
        return found

    def _window(self, node: Node, cut: _Cut) -> None:
        source = self._as_rows(node.input(0), cut.axis)
        rows = row_shape(node.output.shape, cut.axis)
        names = {"name": node.op.name, "first": cut.first, "count": rows[1]}
        self._from_rows(RowWindow, (source,), node.output, rows, **names)

    def _join(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, Concatenation)
        self.owners[node.output.name] = op.inputs[0]
        self.parts |= set(op.inputs)
        parts = tuple(self._as_rows(self.tensors[name], op.axis) for name in op.inputs)
        self._from_rows(JoinRows, parts, node.output, row_shape(node.output.shape, op.axis), name=op.name)

    def _as_rows(self, tensor: Tensor, axis: int) -> str:
        """The tensor, reshaped to rows if necessary."""
        shape = row_shape(tensor.shape, axis)
        if shape == tensor.shape:
            return tensor.name
        return self._reshaped(tensor.name, self._new(f"{tensor.name}_rows", shape, tensor))

    def _from_rows(
        self,
        kind: type[RowWindow | JoinRows],
        inputs: tuple[str, ...],
        output: Tensor,
        rows: tuple[int, ...],
        **names: object,
    ) -> None:
        """The operator on rows, with its output reshaped to the original shape."""
        target = output.name if rows == output.shape else self._new(f"{output.name}_rows", rows, output)
        self.ops.append(kind(inputs=inputs, outputs=(target,), **names))  # type: ignore[arg-type]
        if target != output.name:
            self._reshaped(target, output.name)

    def _new(self, name: str, shape: tuple[int, ...], like: Tensor) -> str:
        while name in self.tensors:
            name += "_"
        self.tensors[name] = Tensor(name, shape, like.encoding)
        return name

    def _reshaped(self, source: str, target: str) -> str:
        taken = {op.name for op in (*self.graph.ops, *self.ops)}
        name = next(f"rows_{i}" for i in range(len(taken) + 1) if f"rows_{i}" not in taken)
        self.ops.append(Reshape(name=name, inputs=(source,), outputs=(target,), shape=self.tensors[target].shape))
        return target


def _cut(node: Node) -> _Cut | None:
    """The rows that a slice takes; None if it does not take whole consecutive rows."""
    op, shape = node.op, node.input(0).shape
    assert isinstance(op, StridedSlice)
    if op.axes != tuple(range(len(shape))) or node.input(0).encoding != node.output.encoding:
        return None
    axis = next((i for i, size in enumerate(shape) if size > 1), 0)
    whole = all((op.begin[i], op.count[i]) == (0, size) for i, size in enumerate(shape) if i != axis)
    steps = all(step == 1 or count == 1 for step, count in zip(op.step, op.count, strict=True))
    return _Cut(axis, op.begin[axis]) if whole and steps else None
