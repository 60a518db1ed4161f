"""The order of operators that needs the least memory at its worst moment.

Dynamic programming over downsets (sets of operators closed under "comes before"): what is alive after a
downset was executed does not depend on the order within, but for the buffers that operators working in place
handed on, so those are part of the state. Level n of the search holds the states after n operators, each with
the least peak that leads to it. Exact while no level exceeds its limit; above, the best states of each level
are kept (beam search). States whose peak reaches that of the given order are dropped at once.

Compare Liberis and Lane, "Neural networks on microcontrollers: saving memory at inference via operator
reordering", 2019 (arXiv 1910.05110), whose search this is, with buffers handed on and scratch added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tinygen.ir.graph import Graph
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.planner import aligned

_WORK = 150_000
"""Steps from state to state, about: two or three seconds for the widest graphs, nothing for chains."""

_LEAST = 64
"""Steps that each level has, whatever the levels before it took."""


@dataclass(frozen=True)
class Schedule:
    """An order of operators.

    Attributes:
        order: indices into the graph's operators.
        peak_bytes: largest sum of live buffers, scratch included.
        optimal: no order has a lower peak.
    """

    order: tuple[int, ...]
    peak_bytes: int
    optimal: bool


_Slots = frozenset[int]
"""Live buffers: the tensors in each that are still needed, as bit masks. Disjoint, so no two are equal."""


@dataclass(frozen=True)
class _Operator:
    """What one operator reads and writes, as bits of tensors and operators."""

    after: int
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    scratch: int
    plan: KernelPlan


@dataclass(frozen=True)
class _Reached:
    """The best way to a state, as a linked list; `ready` are the operators that may follow, as bits.

    Attributes:
        held: bytes of the live buffers.
    """

    peak: int
    held: int
    operator: int
    ready: int
    before: _Reached | None


class _Memory:
    """Lifetimes, step by step; the same rules as `lifetimes.assign_slots`."""

    def __init__(self, graph: Graph, plans: Sequence[KernelPlan], caller: Collection[str] = ()) -> None:
        names = [name for name, tensor in graph.tensors.items() if not tensor.is_constant]
        bit = {name: index for index, name in enumerate(names)}
        writer = {name: index for index, op in enumerate(graph.ops) for name in op.outputs}
        # What lies in buffers of the caller takes nothing from the arena, and nothing can take its place.
        self.bytes = [0 if name in caller else graph.tensors[name].nbytes for name in names]
        self.readers = [0] * len(names)
        # What is kept between invocations never goes, and nothing is written over it.
        self.kept = sum(1 << bit[name] for name in {*graph.sinks, *(s.tensor for s in graph.states)})
        self.operators = []
        for index, (op, plan) in enumerate(zip(graph.ops, plans, strict=True)):
            for name in op.inputs:
                if name in bit:
                    self.readers[bit[name]] |= 1 << index
            self.operators.append(
                _Operator(
                    after=sum(1 << w for w in {writer[name] for name in op.inputs if name in writer}),
                    inputs=tuple(bit.get(name) for name in op.inputs),
                    outputs=tuple(bit[name] for name in op.outputs),
                    scratch=aligned(plan.scratch_bytes),
                    plan=plan,
                )
            )
        self.followers = [0] * len(self.operators)
        for index, operator in enumerate(self.operators):
            for before in _bits(operator.after):
                self.followers[before] |= 1 << index
        self.start: _Slots = frozenset(1 << bit[name] for name in graph.sources)
        self._sizes: dict[int, int] = {}

    def step(self, slots: _Slots, held: int, index: int, done: int) -> tuple[_Slots, int, int]:
        """Executes operator `index`; `done` has its bit already, and `slots` take `held` bytes.

        Returns:
            what stays alive; bytes meanwhile; bytes of what stays alive.
        """
        op = self.operators[index]
        # Only a buffer that the operator reads can go or grow; and at the start one that nothing reads.
        before = list(slots) if done == 1 << index else self._read(slots, op)
        live = before.copy()
        reused: set[int] = set()
        for number, tensor in enumerate(op.outputs):
            donor = self._donor(live, op, number, done, reused)
            if donor is None:
                live.append(1 << tensor)
            else:
                reused.add(donor)
                live[donor] |= 1 << tensor
        others = held - sum(map(self.size, before))
        total = op.scratch + others + sum(map(self.size, live))
        rest = [left for members in live if (left := self._needed(members, done))]
        return slots.difference(before).union(rest), total, others + sum(map(self.size, rest))

    def size(self, members: int) -> int:
        """Bytes of a buffer that holds these tensors, all from its start."""
        size = self._sizes.get(members)
        if size is None:
            size = self._sizes[members] = aligned(max(self.bytes[tensor] for tensor in _bits(members)))
        return size

    def held(self, slots: _Slots) -> int:
        """Bytes of these buffers."""
        return sum(map(self.size, slots))

    def _read(self, slots: _Slots, op: _Operator) -> list[int]:
        """The buffers of an operator's inputs, each once."""
        found: dict[int, None] = {}
        for tensor in op.inputs:
            if tensor is not None:
                alone = 1 << tensor
                found[alone if alone in slots else next(members for members in slots if members & alone)] = None
        return list(found)

    def ready(self, done: int, among: int) -> int:
        """Those operators of `among` whose predecessors are all done."""
        candidates = _bits(among & ((1 << len(self.operators)) - 1))
        return sum(1 << index for index in candidates if not self.operators[index].after & ~done)

    def _needed(self, members: int, done: int) -> int:
        """Those of the tensors that something still reads, or that the model gives."""
        unread = sum(1 << tensor for tensor in _bits(members) if self.readers[tensor] & ~done)
        return unread | members & self.kept

    def _donor(self, live: list[int], op: _Operator, output: int, done: int, reused: set[int]) -> int | None:
        for source, target in op.plan.inplace:
            tensor = op.inputs[source]
            if target != output or tensor is None:
                continue
            donor = next(i for i, members in enumerate(live) if members >> tensor & 1)
            if donor in reused:
                continue
            # Other inputs there must be meant to be overwritten in step, too.
            others = (i for i, other in enumerate(op.inputs) if other is not None and live[donor] >> other & 1)
            fits = self.bytes[op.outputs[output]] <= self.bytes[tensor]
            fits = fits and all((i, target) in op.plan.inplace for i in others)
            if op.plan.is_alias or (fits and not self._needed(live[donor], done)):
                return donor
        return None


def peak_of(graph: Graph, plans: Sequence[KernelPlan], caller: Collection[str] = ()) -> int:
    """Largest sum of live buffers, in the order the graph has."""
    memory = _Memory(graph, plans, caller)
    slots, done, peak = memory.start, 0, 0
    held = memory.held(slots)
    for index in range(len(graph.ops)):
        done |= 1 << index
        slots, total, held = memory.step(slots, held, index, done)
        peak = max(peak, total)
    return peak


def best_order(
    graph: Graph, plans: Sequence[KernelPlan], *, caller: Collection[str] = (), work: int = _WORK
) -> Schedule:
    """The order with the lowest peak that the search finds; the graph's own when none is lower.

    Args:
        graph: views and joins of rows (`ir/ops/rows.py`) are not expected in it.
        plans: one per operator, in the graph's order.
        caller: inputs and outputs in buffers of the caller.
        work: about how many steps from state to state the search may take.
    """
    memory = _Memory(graph, plans, caller)
    count = len(graph.ops)
    given = peak_of(graph, plans, caller)
    start = _Reached(0, memory.held(memory.start), -1, memory.ready(0, ~0), None)
    level: dict[tuple[int, _Slots], _Reached] = {(0, memory.start): start}
    exact = True
    for done in range(count):
        kept = _affordable(level, max(work // (count - done), _LEAST))
        exact = exact and len(kept) == len(level)
        work -= sum(reached.ready.bit_count() for reached in kept.values())
        level = _next_level(memory, kept, given)
        if not level:
            return Schedule(tuple(range(count)), given, exact)
    if not count:
        return Schedule((), given, True)
    reached = min(level.values(), key=lambda r: r.peak)
    return Schedule(_path(reached), reached.peak, exact)


def _affordable(level: dict[tuple[int, _Slots], _Reached], steps: int) -> dict[tuple[int, _Slots], _Reached]:
    """The best states of a level, as many as `steps` allow to go on from."""
    if sum(reached.ready.bit_count() for reached in level.values()) <= steps:
        return level
    kept = {}
    for key, reached in sorted(level.items(), key=lambda item: (item[1].peak, item[1].held)):
        kept[key] = reached
        steps -= reached.ready.bit_count()
        if steps <= 0:
            break
    return kept


def _next_level(
    memory: _Memory, level: dict[tuple[int, _Slots], _Reached], limit: int
) -> dict[tuple[int, _Slots], _Reached]:
    following: dict[tuple[int, _Slots], _Reached] = {}
    for (done, slots), reached in level.items():
        for index in _bits(reached.ready):
            now, followers = done | 1 << index, memory.followers[index]
            rest, total, held = memory.step(slots, reached.held, index, now)
            peak = max(reached.peak, total)
            known = following.get((now, rest))
            if peak < limit and (known is None or peak < known.peak):
                ready = reached.ready ^ 1 << index | memory.ready(now, followers)
                following[now, rest] = _Reached(peak, held, index, ready, reached)
    return following


def _bits(mask: int) -> Iterator[int]:
    """Positions of the ones, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _path(reached: _Reached | None) -> tuple[int, ...]:
    order = []
    while reached is not None and reached.before is not None:
        order.append(reached.operator)
        reached = reached.before
    return tuple(reversed(order))
