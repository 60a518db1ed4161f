"""Parts of a graph that can be computed stripe by stripe, and which rows each stripe needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Stripe

Span = tuple[int, int]
"""Rows (first, end)."""


@dataclass(frozen=True)
class Stage:
    """Consecutive operators with one input tensor and one output tensor.

    Attributes:
        first, end: the operators are `graph.ops[first:end]`.
        source, result: the tensors, NHWC of batch 1; nothing else in the stage is needed outside.
    """

    first: int
    end: int
    source: str
    result: str


@dataclass(frozen=True)
class StripeRows:
    """The rows that one stripe of the result needs.

    Attributes:
        spans: per tensor that is read or written, the rows that must be there (those of the result: the stripe).
        new: per tensor that is computed in this stripe, the rows that are.
        ops: per tensor in `new`, the operator cut to those rows.
    """

    spans: dict[str, Span]
    new: dict[str, Span]
    ops: dict[str, Stripe]


def find_stages(graph: Graph) -> list[Stage]:
    """Stages that begin at the first operator that can be computed by rows, each longer than the one before."""
    nodes = list(graph.nodes())
    start = next((i for i, node in enumerate(nodes) if _by_rows(node)), len(nodes))
    entering = _crossing(graph, start, set())
    used = {name for op in graph.ops[start : start + 1] for name in op.inputs} & entering
    if len(used) != 1:
        return []
    source = used.pop()
    stages = []
    for end in range(start + 1, len(nodes) + 1):
        if not _by_rows(nodes[end - 1]) or (entering - {source}).intersection(graph.ops[end - 1].inputs):
            break
        leaving = _crossing(graph, end, entering - {source})
        if len(leaving) == 1 and (result := leaving.pop()) != source and _is_image(graph, result):
            stages.append(Stage(start, end, source, result))
    return stages


def _by_rows(node: Node) -> bool:
    images = [t for t in (*node.inputs, *node.outputs) if t is not None and not t.is_constant]
    if len(node.outputs) != 1 or not all(len(t.shape) == 4 and t.shape[0] == 1 for t in images):
        return False
    return node.op.stripe(node, 0, node.output.shape[1]) is not None


def _is_image(graph: Graph, name: str) -> bool:
    shape = graph.tensors[name].shape
    return len(shape) == 4 and shape[0] == 1


def _crossing(graph: Graph, step: int, apart: set[str]) -> set[str]:
    """Tensors that exist before operator `step` and are read from there on, except those in `apart`."""
    before = set(graph.inputs) | {name for op in graph.ops[:step] for name in op.outputs}
    after = set(graph.outputs) | {name for op in graph.ops[step:] for name in op.inputs}
    return (before & after) - apart


def stripe_rows(graph: Graph, stage: Stage, height: int, *, keep: bool) -> list[StripeRows] | None:
    """Rows per stripe of `height` rows of the result, from the top.

    Args:
        graph: holds the stage.
        height: of a stripe; the last one may have less.
        keep: keep the rows that the next stripe reads again, instead of computing them again.

    Returns:
        None if an operator cannot be cut so.
    """
    total = graph.tensors[stage.result].shape[1]
    produced: dict[str, int] = {}
    stripes = []
    for first in range(0, total, height):
        rows = _one_stripe(graph, stage, (first, min(first + height, total)), produced if keep else {})
        if rows is None:
            return None
        produced.update({name: span[1] for name, span in rows.new.items()})
        stripes.append(rows)
    return stripes


def _one_stripe(graph: Graph, stage: Stage, wanted: Span, produced: dict[str, int]) -> StripeRows | None:
    rows = StripeRows({stage.result: wanted}, {}, {})
    inside = {op.outputs[0] for op in graph.ops[stage.first : stage.end]}
    for op in reversed(graph.ops[stage.first : stage.end]):
        name = op.outputs[0]
        if name not in rows.spans:
            continue
        low, high = rows.spans[name]
        begin = max(low, produced.get(name, low))
        # Rows computed ahead are kept, even if this stripe does not read them.
        rows.spans[name] = (low, max(high, begin))
        if begin >= high:
            continue
        node = graph.node(op)
        spans = [(begin, high)] if name == stage.result else _wider(begin, high, node.output.shape[1])
        cuts = ((span, cut) for span in spans if (cut := op.stripe(node, *span)) is not None)
        span_and_cut = next(cuts, None)
        if span_and_cut is None:
            return None
        rows.new[name], cut = span_and_cut
        rows.ops[name] = cut
        rows.spans[name] = (min(low, rows.new[name][0]), rows.new[name][1])
        for source, span in zip(op.inputs, cut.inputs, strict=True):
            if span is None and (source in inside or source == stage.source):
                return None
            if span is not None:
                known = rows.spans.get(source, span)
                rows.spans[source] = (min(known[0], span[0]), max(known[1], span[1]))
    return rows


def _wider(first: int, end: int, height: int) -> Iterator[Span]:
    """The rows, then wider ranges: rows that lie wholly in padding can only be cut together with a row of the image."""
    yield first, end
    yield from ((begin, end) for begin in range(first - 1, -1, -1))
    yield from ((0, stop) for stop in range(end + 1, height + 1))
