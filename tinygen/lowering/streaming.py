"""Whether, and with which stripes, to compute the first stage of a network to save memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygen.errors import FitError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.lowering.lifetimes import Ahead, live_bytes
from tinygen.lowering.place import Draft, draft, least_scratch
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.program import Streamed
from tinygen.lowering.scratch import spend_scratch
from tinygen.lowering.select import Choice
from tinygen.passes.stages import Stage, find_stages
from tinygen.passes.stripe_stage import stripe_stage

Chooser = Callable[[Node], Choice]

_CALL_CYCLES = 60
"""Of a call, its arguments and its observer: what makes many small stripes dearer than few large ones."""
_STAGES = 64
"""Ends of the stage that are tried, those with the smallest tensor there."""
_WORK = 100_000
"""Operators in all that is tried: about five seconds."""
_NEAR = 1.02
"""Arenas this close to the smallest count as equal, and the cheapest of them is taken."""


@dataclass(frozen=True)
class Streaming:
    """The aim of computing in stripes.

    Attributes:
        arena_bytes: use the fastest way within this arena; None asks for the smallest arena.
        recompute: limit of additional multiply-accumulates, as a share of all, if the smallest arena is asked for.
        striped: in stripes (True), or all rows at once (False); None for what needs less memory.
        scratch_bytes: live bytes up to which layers get scratch, if the smallest arena is asked for; the arena may grow
            to place them. None for what is free in the smallest arena: that depends on the kernels of all layers.
    """

    arena_bytes: int | None = None
    recompute: float = 0.1
    striped: bool | None = None
    scratch_bytes: int | None = None

    def less(self, count: int) -> Streaming:
        """For an arena of which something else takes `count` bytes."""
        arena, scratch = (None if n is None else max(n - count, 0) for n in (self.arena_bytes, self.scratch_bytes))
        return replace(self, arena_bytes=arena, scratch_bytes=scratch)


@dataclass(frozen=True)
class _Candidate:
    """A way to compute the stage.

    Attributes:
        streamed: its description for reports.
        peak: largest live bytes of a step, with the least scratch.
        cycles: with the scratch that it would get.
    """

    graph: Graph
    choices: list[Choice]
    ahead: Ahead
    streamed: Streamed
    peak: int
    cycles: float


def stream(whole: Draft, wanted: Streaming, choose: Chooser, packed: Draft | None = None) -> Draft:
    """The same network with its first stage in stripes, if that is wanted and helps.

    Arenas are compared with the least scratch, cycles with the scratch that fits the limit.

    Args:
        whole: the program without stripes.
        wanted: the aim.
        choose: gives a node its kernel.
        packed: the program of a build without a limit, for the error alone.

    Raises:
        FitError: nothing found fits the arena; the error says how small it can be.
    """
    limit = wanted.arena_bytes
    if limit is not None and whole.arena_bytes <= limit:
        return whole
    best = whole
    for candidate in _ranked(_candidates(whole, _remembering(choose), limit), wanted):
        placed = draft(candidate.graph, candidate.choices, candidate.ahead, whole.caller)
        if placed.arena_bytes < best.arena_bytes:
            best = replace(placed, program=replace(placed.program, streamed=candidate.streamed))
        if limit is None or best.arena_bytes <= limit:
            return best
    if limit is None:
        return whole
    plain = min(one.arena_bytes for one in (whole, packed or whole))
    smallest = min(best.arena_bytes, plain)
    how = "in stripes" if smallest < plain else "and stripes do not help"
    raise FitError(
        f"the arena does not fit {limit:,} bytes: {plain:,} without a limit, {smallest:,} at best {how}",
        where=whole.program.graph.name,
        fix="Take a model with smaller activations or input, or a board with more RAM.",
        excess={"arena": smallest - limit},
    )


def _ranked(candidates: Sequence[_Candidate], wanted: Streaming) -> list[_Candidate]:
    """Candidates, the most promising first."""
    if wanted.arena_bytes is not None:
        fitting = [c for c in candidates if c.peak <= wanted.arena_bytes]
        smallest = sorted(candidates, key=lambda c: (c.peak, c.cycles))[:1]
        return sorted(fitting, key=lambda c: (c.cycles, c.peak))[:20] + smallest
    allowed = [c for c in candidates if c.streamed.recomputed_macs <= wanted.recompute * c.streamed.macs]
    least = min((c.peak for c in allowed), default=0)
    near = [c for c in allowed if c.peak <= least * _NEAR]
    return sorted(near, key=lambda c: (c.cycles, c.peak))


def _candidates(whole: Draft, choose: Chooser, limit: int | None) -> list[_Candidate]:
    """Every stage with every useful height of stripes that lowers the peak of live bytes; as many as `work` allows."""
    graph, plans = whole.program.graph, least_scratch(whole.choices)
    if graph.is_stream:
        # A state's update would be written in stripes while the state is still read.
        return []
    given = max(live_bytes(graph, plans, caller=whole.caller), default=0)
    stages = sorted(find_stages(graph), key=lambda s: (graph.tensors[s.result].nbytes, s.end))[:_STAGES]
    stages = [stage for stage in stages if _peak_behind(graph, plans, stage, whole.caller) < given]
    ways = [(stage, height) for stage in stages for height in _heights(graph.tensors[stage.result].shape[1])]
    found = []
    work = _WORK
    # Few stripes of few operators first: if work runs out, only the most expensive candidates are missing.
    for stage, height in sorted(ways, key=lambda way: (_operators(graph, *way), way[0].end)):
        for keep in (True, False):
            candidate = _candidate(whole, stage, height, keep, choose, limit) if work > 0 else None
            if candidate is not None:
                work -= len(candidate.choices)
                found.append(candidate)
    return [candidate for candidate in found if candidate.peak < given]


def _operators(graph: Graph, stage: Stage, height: int) -> int:
    """Approximate number of the stage's operators when computed in stripes."""
    return -(-graph.tensors[stage.result].shape[1] // height) * (stage.end - stage.first)


def _heights(rows: int) -> list[int]:
    """Heights that give different numbers of stripes, two or more."""
    return sorted({-(-rows // count) for count in range(2, rows + 1)})


def _peak_behind(graph: Graph, plans: Sequence[KernelPlan], stage: Stage, caller: Collection[str]) -> int:
    """Peak bytes of the operators behind the stage, however the stage is computed."""
    ops = graph.ops[stage.end :]
    there = {stage.result, *(name for op in ops for name in op.outputs)}
    outputs = tuple(name for name in graph.outputs if name in there)
    behind = replace(graph, ops=ops, inputs=(stage.result,), outputs=outputs)
    return max(live_bytes(behind, plans[stage.end :], caller=caller), default=0)


def _candidate(
    whole: Draft, stage: Stage, height: int, keep: bool, choose: Chooser, limit: int | None
) -> _Candidate | None:
    graph = whole.program.graph
    striped = stripe_stage(graph, stage, height, keep=keep)
    if striped is None:
        return None
    choices = [choose(node) for node in striped.graph.nodes()]
    ahead = Ahead(striped.result, striped.source, striped.lead_bytes)
    macs = sum(node.op.macs(node) for node in graph.nodes())
    rows = graph.tensors[stage.result].shape[1]
    streamed = Streamed(
        operators=tuple(op.name for op in graph.ops[stage.first : stage.end]),
        stripes=-(-rows // height),
        rows=height,
        keep=keep,
        macs=macs,
        recomputed_macs=sum(node.op.macs(node) for node in striped.graph.nodes()) - macs,
        arena_bytes_before=whole.arena_bytes,
    )
    live = live_bytes(striped.graph, least_scratch(choices), ahead, whole.caller)
    peak = max(live, default=0)
    plans = spend_scratch(choices, live, peak if limit is None else limit)
    cycles = sum(plan.cycles + (0 if plan.is_alias else _CALL_CYCLES) for plan in plans)
    return _Candidate(striped.graph, choices, ahead, streamed, peak, cycles)


def _remembering(choose: Chooser) -> Chooser:
    """The same chooser, with a cache for stripes of the same shape."""
    known: dict[Any, tuple[Node, Choice]] = {}

    def remembered(node: Node) -> Choice:
        bare = replace(node.op, name="", inputs=(), outputs=())
        # By identity: encodings and data are shared between stripes. The node is kept, so that none is freed.
        tensors = [t and (t.shape, id(t.encoding), id(t.data)) for t in (*node.inputs, *node.outputs)]
        key = (bare, tuple(tensors))
        if key not in known:
            known[key] = (node, choose(node))
        return known[key][1]

    return remembered
