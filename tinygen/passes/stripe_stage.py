"""Rewrites a stage to be computed in horizontal stripes, so that only a stripe of each inner tensor is in memory.

Lin et al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning", 2021 (arXiv 2110.15352),
compute patches, and recompute where they overlap. Stripes as wide as the image overlap in rows only. These are
recomputed, or kept from stripe to stripe (compare Alwani et al., "Fused-Layer CNN Accelerators", MICRO 2016), as the
caller chooses. Rows are contiguous in NHWC, so a stripe or a window of a larger tensor is only a pointer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.rows import CopyRows, JoinRows, RowWindow
from tinygen.ir.tensor import Tensor
from tinygen.passes.stages import Span, Stage, StripeRows, stripe_rows

_STRIPE = "_stripe_"


@dataclass(frozen=True)
class Striped:
    """A graph with its first stage in stripes.

    Attributes:
        graph: the same network.
        source, result: the stage's tensors.
        lead_bytes: rows of the result are written while rows of the source are released. If the result begins at least
            this many bytes below the source, no row is overwritten before it is read.
    """

    graph: Graph
    source: str
    result: str
    lead_bytes: int


def stripe_stage(graph: Graph, stage: Stage, height: int, *, keep: bool) -> Striped | None:
    """The same graph; the stage is computed `height` rows of its result at a time.

    Args:
        graph: a validated graph, without stripes so far.
        stage: one of `find_stages(graph)`.
        height: rows of the result per stripe.
        keep: keep rows that the next stripe reads again, instead of computing them again.

    Returns:
        None if an operator of the stage cannot be cut so.
    """
    stripes = stripe_rows(graph, stage, height, keep=keep)
    if stripes is None:
        return None
    striped = _Rewriter(graph, stage, stripes, keep=keep).graph()
    return Striped(striped, stage.source, stage.result, _lead(graph, stage, stripes))


def stripe_name(layer: str, number: int) -> str:
    """The name of a layer's operator in stripe `number`."""
    return f"{layer}{_STRIPE}{number}"


def model_layer(name: str) -> str:
    """The model's layer whose stripe an operator is; "" if it is not a stripe."""
    layer, _, number = name.rpartition(_STRIPE)
    return layer if number.isdecimal() else ""


def _lead(graph: Graph, stage: Stage, stripes: Sequence[StripeRows]) -> int:
    """See `Striped.lead_bytes`."""
    source, result = graph.tensors[stage.source], graph.tensors[stage.result]
    source_row, result_row = (tensor.nbytes // tensor.shape[1] for tensor in (source, result))
    # In a stripe, the source is read before rows of the result are written, unless one operator does both.
    at_once = stage.source in graph.ops[stage.end - 1].inputs
    lead, unread = 0, source.shape[1]
    for stripe in reversed(stripes):
        first = min(unread, stripe.spans.get(stage.source, (unread, unread))[0])
        lead = max(lead, stripe.spans[stage.result][1] * result_row - (first if at_once else unread) * source_row)
        unread = first
    return lead


class _Rewriter:
    def __init__(self, graph: Graph, stage: Stage, stripes: Sequence[StripeRows], *, keep: bool) -> None:
        self.source, self.stage, self.stripes, self.keep = graph, stage, stripes, keep
        self.tensors = dict(graph.tensors)
        self.ops: list[Op] = []
        self.held: dict[str, tuple[str, Span]] = {stage.source: (stage.source, _all_rows(graph, stage.source))}
        """For each tensor of the stage: what holds its rows now, and which."""
        self.results: list[str] = []

    def graph(self) -> Graph:
        for number in range(len(self.stripes)):
            self._stripe(number)
        join = JoinRows(name=f"{self._op(-1).name}_rows", inputs=tuple(self.results), outputs=(self.stage.result,))
        before, after = self.source.ops[: self.stage.first], self.source.ops[self.stage.end :]
        inside = {op.outputs[0] for op in self.source.ops[self.stage.first : self.stage.end]} - {self.stage.result}
        tensors = {name: tensor for name, tensor in self.tensors.items() if name not in inside}
        return replace(self.source, tensors=tensors, ops=(*before, *self.ops, join, *after))

    def _op(self, index: int) -> Op:
        return self.source.ops[self.stage.first : self.stage.end][index]

    def _stripe(self, number: int) -> None:
        rows = self.stripes[number]
        running = [op for op in self.source.ops[self.stage.first : self.stage.end] if op.outputs[0] in rows.new]
        last_reader = {name: op for op in running for name in op.inputs}
        for op in running:
            self._compute(op, number)
            for name in dict.fromkeys(op.inputs):
                if self.keep and last_reader[name] is op:
                    self._keep_rows(name, number)

    def _compute(self, op: Op, number: int) -> None:
        """Adds an operator on its new rows, below those kept from earlier stripes."""
        rows, name = self.stripes[number], op.outputs[0]
        cut = rows.ops[name]
        inputs = tuple(self._rows(i, span, op, number) for i, span in zip(op.inputs, cut.inputs, strict=True))
        low, high = rows.spans[name]
        begin = rows.new[name][0]
        target = self._tensor(name, f"stripe {number}", (begin, high))
        if begin > low:
            kept, (start, _) = self.held[name]
            head = self._tensor(name, f"kept above stripe {number}", (low, begin))
            window = self._window(kept, (low - start, begin - start), f"{op.name}_above_{number}")
            self.ops.append(CopyRows(name=f"{op.name}_restore_{number}", inputs=(window,), outputs=(head,)))
        self.ops.append(replace(cut.op, name=stripe_name(op.name, number), inputs=inputs, outputs=(target,)))
        if begin > low:
            whole = self._tensor(name, f"window {number}", (low, high))
            self.ops.append(JoinRows(name=f"{op.name}_window_{number}", inputs=(head, target), outputs=(whole,)))
            target = whole
        self.held[name] = (target, (low, high))
        if name == self.stage.result:
            self.results.append(target)

    def _rows(self, name: str, span: Span | None, op: Op, number: int) -> str:
        """Some rows of an input, as a tensor."""
        if span is None:
            return name
        tensor = self.source.tensors[name]
        if tensor.data is not None:
            part = self._tensor(name, f"rows {span[0]} to {span[1] - 1}", span)
            self.tensors[part] = replace(self.tensors[part], data=tensor.data[:, span[0] : span[1]])
            return part
        holder, (start, _) = self.held[name]
        index = op.inputs.index(name)
        return self._window(holder, (span[0] - start, span[1] - start), f"{op.name}_input_{index}_{number}")

    def _window(self, name: str, span: Span, op_name: str) -> str:
        """Rows `span` of a tensor of the new graph; the tensor itself when that is all of it."""
        shape = self.tensors[name].shape
        if span == (0, shape[1]):
            return name
        result = self._tensor(name, f"rows {span[0]} to {span[1] - 1} for {op_name}", span)
        self.ops.append(
            RowWindow(name=op_name, inputs=(name,), outputs=(result,), first=span[0], count=span[1] - span[0])
        )
        return result

    def _keep_rows(self, name: str, number: int) -> None:
        """Copies the rows that a later stripe reads again, so that the rest of the tensor can be freed."""
        if name not in self.held or name == self.stage.source:
            return
        later = (stripe.spans[name][0] for stripe in self.stripes[number + 1 :] if name in stripe.spans)
        holder, (start, end) = self.held[name]
        low = next(later, end)
        if low >= end or low == start:
            return
        tail = self._tensor(name, f"kept after stripe {number}", (low, end))
        writer = next(op for op in self.source.ops if name in op.outputs)
        window = self._window(holder, (low - start, end - start), f"{writer.name}_below_{number}")
        self.ops.append(CopyRows(name=f"{writer.name}_keep_{number}", inputs=(window,), outputs=(tail,)))
        self.held[name] = (tail, (low, end))

    def _tensor(self, name: str, what: str, span: Span) -> str:
        """A new tensor like `name`, with another number of rows."""
        model = self.tensors[name]
        title = f"{name}, {what}"
        while title in self.tensors:
            title += "'"
        shape = (model.shape[0], span[1] - span[0], *model.shape[2:])
        self.tensors[title] = Tensor(title, shape, model.encoding)
        return title


def _all_rows(graph: Graph, name: str) -> Span:
    return 0, graph.tensors[name].shape[1]
