"""Whether, and with which stripes, to compute the first stage of a network to save memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Any

from tinygen.errors import FitError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.lowering.lifetimes import Ahead, live_bytes
from tinygen.lowering.place import TRY_NODES, Draft, draft, finished, least_scratch, placed
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.program import Program, Streamed
from tinygen.lowering.scratch import CALL_CYCLES, spend_scratch
from tinygen.lowering.scratch_search import cycles_of
from tinygen.lowering.select import Choice
from tinygen.passes.stages import Stage, find_stages
from tinygen.passes.stripe_stage import stripe_stage

Chooser = Callable[[Node], Choice]

_STAGES = 64
"""Ends of the stage that are tried, those with the smallest tensor there."""
_WORK = 100_000
"""Operators in all that is tried: about five seconds."""
_PLACED = 100
"""Memory plans that are made for a limit."""
_STEP = 1.05
"""Between the arenas that are tried."""
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


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A way to compute the stage.

    Attributes:
        streamed: its description for reports.
        live: bytes at each step, with the least scratch.
    """

    graph: Graph
    choices: list[Choice]
    ahead: Ahead
    streamed: Streamed
    live: list[int]

    @property
    def peak(self) -> int:
        return max(self.live, default=0)

    def plans(self, size: int) -> list[KernelPlan]:
        """With the scratch that live bytes of this size leave."""
        return spend_scratch(self.choices, self.live, size)

    def cycles(self, size: int) -> float:
        return sum(plan.cycles + (0 if plan.is_alias else CALL_CYCLES) for plan in self.plans(size))

    def draft(self, caller: frozenset[str]) -> Draft:
        found = draft(self.graph, self.choices, self.ahead, caller)
        return replace(found, program=replace(found.program, streamed=self.streamed))

    def placed(self, size: int, caller: frozenset[str]) -> Program:
        plans = self.plans(size)
        if size == self.peak and plans == least_scratch(self.choices):
            return self.draft(caller).program
        found = placed(self.graph, self.choices, plans, self.ahead, caller, TRY_NODES)
        return replace(found, streamed=self.streamed)


def stream(whole: Draft, wanted: Streaming, choose: Chooser) -> Program:
    """The same network with its first stage in stripes, if that helps; with scratch assigned.

    Args:
        whole: the program without stripes.
        wanted: the aim.
        choose: gives a node its kernel.

    Raises:
        FitError: nothing found fits the arena; the error says how small it can be.
    """
    candidates = _candidates(whole, _remembering(choose))
    least, limit = _least(whole, candidates, wanted), wanted.arena_bytes
    if limit is None:
        return least
    found = [least] if least.memory.arena_bytes <= limit else []
    try:
        found.append(_fastest(whole, candidates, limit))
    except FitError:
        if not found:
            raise
    return min(found, key=cycles_of)


def _least(whole: Draft, candidates: Sequence[_Candidate], wanted: Streaming) -> Program:
    """The program with the smallest arena."""
    best = next((candidate.draft(whole.caller) for candidate in _smallest(candidates, wanted)), whole)
    if best.arena_bytes >= whole.arena_bytes:
        best = whole
    # Scratch only gets what is free in the smallest arena.
    scratch = wanted.scratch_bytes
    return finished(best, best.arena_bytes if scratch is None else None, scratch)


def _smallest(candidates: Sequence[_Candidate], wanted: Streaming) -> list[_Candidate]:
    """Those with the smallest peak, the fastest first."""
    allowed = [c for c in candidates if c.streamed.recomputed_macs <= wanted.recompute * c.streamed.macs]
    least = min((c.peak for c in allowed), default=0)
    return sorted((c for c in allowed if c.peak <= least * _NEAR), key=lambda c: (c.cycles(c.peak), c.peak))


def _fastest(whole: Draft, candidates: Sequence[_Candidate], limit: int) -> Program:
    """The fastest within a limit, among all candidates with the scratch that arenas of some sizes leave.

    The sizes do not depend on the limit, so that a larger one never gives a slower program.
    """
    given = max(live_bytes(whole.program.graph, least_scratch(whole.choices), caller=whole.caller), default=0)
    waiting = [
        (candidate.cycles(size), index, size)
        for index, candidate in enumerate(candidates)
        if candidate.peak <= limit and (size := _size_below(limit + 1, given, candidate.peak))
    ]
    heapify(waiting)
    for _ in range(_PLACED):
        if not waiting:
            break
        _, index, size = heappop(waiting)
        candidate = candidates[index]
        program = candidate.placed(size, whole.caller)
        if program.memory.arena_bytes <= limit:
            return program
        if size > candidate.peak:
            size = _size_below(size, given, candidate.peak)
            heappush(waiting, (candidate.cycles(size), index, size))
    best = min(candidates, key=lambda c: c.peak, default=None)
    least = whole if best is None else best.draft(whole.caller)
    smallest = min(least.arena_bytes, whole.arena_bytes)
    if least.arena_bytes <= limit:
        return finished(least, least.arena_bytes)
    raise FitError(
        f"the arena does not fit {limit:,} bytes: {smallest:,} in stripes",
        where=whole.program.graph.name,
        excess={"arena": smallest - limit},
    )


def _size_below(limit: int, given: int, peak: int) -> int:
    """The largest of the sizes that are tried below a limit; the peak itself is one."""
    step = math.floor(math.log(limit / given, _STEP)) + 1
    while (size := int(given * _STEP**step)) >= limit:
        step -= 1
    return max(size, peak)


def _candidates(whole: Draft, choose: Chooser) -> list[_Candidate]:
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
            candidate = _candidate(whole, stage, height, keep, choose) if work > 0 else None
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


def _candidate(whole: Draft, stage: Stage, height: int, keep: bool, choose: Chooser) -> _Candidate | None:
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
    return _Candidate(striped.graph, choices, ahead, streamed, live)


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
