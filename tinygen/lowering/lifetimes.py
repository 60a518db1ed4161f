"""Which tensors share a buffer of the arena, and the steps between which it is live.

A slot holds one tensor, or several: the output of an operator that works in place, views into a larger tensor,
and the parts of a tensor that is written piece by piece.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tinygen.ir.graph import Graph
from tinygen.ir.ops.rows import RowWindow
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.planner import Buffer, Overlay, live_by_step


@dataclass
class Slot:
    """A buffer in the making. `first` and `last` are steps, both included.

    `ends` has for each of its tensors the end, in bytes from the slot's start, and the last step that needs it.
    """

    name: str
    size: int
    first: int
    last: int
    ends: list[tuple[int, int]] = field(default_factory=list)

    def buffer(self) -> Buffer:
        """The slot as a buffer, which shrinks when a tensor at its end is dead."""
        shrinks: list[tuple[int, int]] = []
        size = self.size
        for step in sorted({last for _, last in self.ends if last < self.last}):
            left = max(end for end, last in self.ends if last > step)
            if left < size:
                shrinks.append((step + 1, left))
                size = left
        return Buffer(self.name, self.size, self.first, self.last, tuple(shrinks))


@dataclass(frozen=True)
class Place:
    """The address of a tensor: a slot, and bytes from its start."""

    slot: Slot
    offset: int = 0


def last_uses(graph: Graph) -> dict[str, int]:
    """The last step that needs each tensor: the end for outputs of the model, states and their updates."""
    last = dict.fromkeys(graph.inputs, 0)
    for step, op in enumerate(graph.ops):
        for name in (*op.inputs, *op.outputs):
            last[name] = step
    last.update({name: len(graph.ops) for name in (*graph.sinks, *(state.tensor for state in graph.states))})
    return last


def last_reads(graph: Graph) -> dict[str, int]:
    """The last step that reads each tensor: the end for outputs of the model and updates of states."""
    reads = {name: step for step, op in enumerate(graph.ops) for name in op.inputs}
    return reads | dict.fromkeys(graph.sinks, len(graph.ops))


def assign_slots(
    graph: Graph, plans: Sequence[KernelPlan], caller: Collection[str] = ()
) -> tuple[list[Slot], dict[str, Place]]:
    """Slots in the order of their first steps, and the place of every computed tensor.

    Args:
        caller: inputs and outputs in buffers of the caller, see `lay_out`.
    """
    return _Assignment(graph, plans, caller).run()


@dataclass(frozen=True)
class Ahead:
    """A tensor that is written row by row while another one is read and released row by row.

    Attributes:
        result, source: their names.
        lead_bytes: how far below the source the result must begin, so that nothing unread is overwritten.
    """

    result: str
    source: str
    lead_bytes: int


@dataclass(frozen=True)
class Layout:
    """Everything that needs a place in the arena.

    Attributes:
        slots: of tensors, then of scratch.
        places: of every tensor that is computed.
        scratch: slots of scratch, by step.
        overlays: slots that may share bytes, by their indices.
        ported: for every tensor in a buffer of the caller: the graph's input or output whose buffer it is, and the
            offset in bytes.
    """

    slots: tuple[Slot, ...]
    places: Mapping[str, Place]
    scratch: Mapping[int, Slot]
    overlays: tuple[Overlay, ...]
    ported: Mapping[str, tuple[str, int]]

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        return tuple(slot.buffer() for slot in self.slots)


def lay_out(
    graph: Graph, plans: Sequence[KernelPlan], ahead: Ahead | None = None, caller: Collection[str] = ()
) -> Layout:
    """Slots of tensors and scratch, if the operators run in the graph's order with these plans.

    Args:
        caller: inputs and outputs in buffers of the caller. Those that share memory with another input, output or
            state, or are part of a larger tensor, are copied instead.
    """
    every, places = assign_slots(graph, plans, caller)
    buffers = _buffers_of_caller(graph, places, caller)
    slots = [slot for slot in every if id(slot) not in buffers]
    scratch = {
        step: Slot(f"scratch of {op.name}", plan.scratch_bytes, step, step)
        for step, (op, plan) in enumerate(zip(graph.ops, plans, strict=True))
        if plan.scratch_bytes
    }
    shared = _overlays(graph, plans, slots, places, ahead) if ahead else ()
    ported = {
        name: (buffers[id(place.slot)], place.offset) for name, place in places.items() if id(place.slot) in buffers
    }
    return Layout((*slots, *scratch.values()), places, scratch, shared, ported)


def _buffers_of_caller(graph: Graph, places: Mapping[str, Place], caller: Collection[str]) -> dict[int, str]:
    """The input or output whose buffer replaces a slot, by the slot's identity."""
    ports = {*graph.inputs, *graph.outputs}
    apart = {*ports, *(state.tensor for state in graph.states)}
    found = {}
    for name in ports & set(caller):
        slot, offset = places[name].slot, places[name].offset
        alone = all(other == name or places[other].slot is not slot for other in apart)
        if alone and offset == 0 and slot.size == graph.tensors[name].nbytes:
            found[id(slot)] = name
    return found


def live_bytes(
    graph: Graph, plans: Sequence[KernelPlan], ahead: Ahead | None = None, caller: Collection[str] = ()
) -> list[int]:
    """Live bytes at each step, scratch included: no arena can be smaller than the maximum."""
    layout = lay_out(graph, plans, ahead, caller)
    live = live_by_step(layout.buffers, layout.overlays)
    # Steps after the last buffer's end may only use buffers of the caller.
    return live + [0] * (len(graph.ops) - len(live))


def _overlays(
    graph: Graph, plans: Sequence[KernelPlan], slots: Sequence[Slot], places: Mapping[str, Place], ahead: Ahead
) -> tuple[Overlay, ...]:
    """Slots that may share bytes because of `ahead`; none if another tensor is in the source's slot too, or an alias of
    the source is needed when the result is written.
    """
    result, source = places[ahead.result], places[ahead.source]
    last = last_uses(graph)
    windows = {op.outputs[0] for op in graph.ops if isinstance(op, RowWindow) and op.inputs[0] == ahead.source}
    aliases = {name for op, plan in zip(graph.ops, plans, strict=True) if plan.is_alias for name in op.outputs}
    strangers = (
        name not in {*aliases, *graph.sources} or last[name] >= result.slot.first
        for name, place in places.items()
        if place.slot is source.slot and name != ahead.source and name not in windows
    )
    if result.offset or source.offset or result.slot is source.slot or any(strangers):
        return ()
    index = {id(slot): number for number, slot in enumerate(slots)}
    if not {id(result.slot), id(source.slot)} <= index.keys():  # in a buffer of the caller
        return ()
    return (Overlay(index[id(result.slot)], index[id(source.slot)], ahead.lead_bytes),)


class _Assignment:
    def __init__(self, graph: Graph, plans: Sequence[KernelPlan], caller: Collection[str]) -> None:
        self.graph, self.plans, self.caller = graph, plans, caller
        self.last, self.reads = last_uses(graph), last_reads(graph)
        # An input of the caller is never overwritten.
        self.last |= {name: len(graph.ops) for name in graph.inputs if name in caller}
        self.slots: list[Slot] = []
        self.places: dict[str, Place] = {}
        self.wholes = _wholes(graph, plans)

    def run(self) -> tuple[list[Slot], dict[str, Place]]:
        for name in self.graph.sources:
            # All inputs are written before the first layer; states exist before them.
            self._new(name, 0)
        for step, (op, plan) in enumerate(zip(self.graph.ops, self.plans, strict=True)):
            reused: set[int] = set()
            for index, name in enumerate(op.outputs):
                if name in self.places:
                    # The parts of a joined tensor are in place already.
                    continue
                home = None if name in self.wholes else self._home(plan, index, step)
                if home is not None:
                    self._put(name, home)
                    continue
                donor = None if name in self.wholes else self._donor(plan, index, step, reused)
                if donor is None:
                    self._new(name, step)
                else:
                    reused.add(id(donor.slot))
                    self._put(name, Place(donor.slot, donor.offset + plan.view_offset))
        return self.slots, self.places

    def _new(self, name: str, step: int) -> None:
        """Places a tensor: in the tensor it is part of, else in a slot of its own."""
        whole, offset = self.wholes.get(name, (name, 0))
        if whole not in self.places:
            slot = Slot(whole, self.graph.tensors[whole].nbytes, step, self.last[whole])
            self.slots.append(slot)
            self.places[whole] = Place(slot)
            slot.ends.append((slot.size, slot.last))
        self._put(name, Place(self.places[whole].slot, offset))

    def _put(self, name: str, place: Place) -> None:
        place.slot.last = max(place.slot.last, self.last[name])
        place.slot.ends.append((place.offset + self.graph.tensors[name].nbytes, self.last[name]))
        self.places[name] = place

    def _home(self, plan: KernelPlan, output: int, step: int) -> Place | None:
        """The place of the state that this output updates, if nothing reads the old state any more."""
        op = self.graph.ops[step]
        for state in self.graph.states:
            place = self.places[state.tensor]
            if state.update != op.outputs[output] or plan.is_alias:
                continue
            inside = [name for name, other in self.places.items() if other.slot is place.slot]
            # The operator itself may read it, if the plan allows writing in place.
            clash = any(
                name in inside and (self.places[name] != place or (index, output) not in plan.inplace)
                for index, name in enumerate(op.inputs)
            )
            if not clash and all(self.reads.get(name, -1) <= step for name in inside):
                return place
        return None

    def _donor(self, plan: KernelPlan, output: int, step: int, reused: set[int]) -> Place | None:
        """The place of an input that this output may reuse: always for aliases, else if the input dies here."""
        op = self.graph.ops[step]
        for source, target in plan.inplace:
            place = self.places.get(op.inputs[source])
            if target != output or place is None or id(place.slot) in reused:
                continue
            if plan.is_alias:
                return place
            # The plan must also allow overwriting other inputs in the same slot.
            clash = any(
                other.slot is place.slot and (other.offset != place.offset or (index, target) not in plan.inplace)
                for index, name in enumerate(op.inputs)
                if (other := self.places.get(name)) is not None
            )
            sizes = [self.graph.tensors[name].nbytes for name in (op.inputs[source], op.outputs[output])]
            # A buffer of the caller has the size of the output, not of the earlier tensor.
            fits = sizes[1] == place.slot.size if op.outputs[output] in self.caller else sizes[1] <= sizes[0]
            if place.slot.last == step and fits and not clash:
                return place
        return None


def _wholes(graph: Graph, plans: Sequence[KernelPlan]) -> dict[str, tuple[str, int]]:
    """For each part of a joined tensor: the joined tensor, and the part's offset in bytes."""
    direct: dict[str, tuple[str, int]] = {}
    for op, plan in zip(graph.ops, plans, strict=True):
        for (source, target), offset in zip(plan.inplace, plan.part_offsets, strict=False):
            direct[op.inputs[source]] = (op.outputs[target], offset)
    for op, plan in reversed(list(zip(graph.ops, plans, strict=True))):
        # The tensor that the part is a reshaped form of.
        if plan.is_alias and not plan.part_offsets and op.outputs[0] in direct and op.inputs[0] not in direct:
            sizes = {graph.tensors[name].nbytes for name in (op.inputs[0], op.outputs[0])}
            if len(sizes) == 1:
                direct[op.inputs[0]] = (op.outputs[0], 0)
    found = {}
    for name in direct:
        whole, offset = direct[name]
        while whole in direct:
            offset += direct[whole][1]
            whole = direct[whole][0]
        found[name] = (whole, offset)
    return found
