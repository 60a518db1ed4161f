"""Chooses which low-bit activations are packed: those at the arena's peak, as long as the peak falls.

A code of 4 or 2 bits takes a byte, or its bits in words of channels (`Tensor.code_bits`). Packed codes are slower to
write and read, so only tensors that are live at the peak are packed, and only if their layers have kernels for packed
codes that are not slower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Levels
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lifetimes import last_uses, live_bytes
from tinygen.lowering.place import Draft, draft, least_scratch
from tinygen.lowering.select import Choice
from tinygen.lowering.streaming import Chooser

_SLOWER = 0.1
"""Share of the predicted cycles of a layer on bytes: what takes more is another kind of kernel."""
_NEAR = 1.03
"""Times the smallest peak: what is packed beyond that saves too little."""
_OF_ALL = 0.08
"""Share of the predicted cycles of all layers that they may take more, where one of them exceeds the other share."""


@dataclass(frozen=True, eq=False)
class _Packing:
    """A graph with some of its activations packed, and the kernels for it."""

    graph: Graph
    choices: Sequence[Choice]

    @property
    def cycles(self) -> float:
        return sum(choice.fastest.cycles for choice in self.choices)

    def live(self, caller: frozenset[str]) -> list[int]:
        """Live bytes at each step, with the least scratch."""
        return live_bytes(self.graph, least_scratch(self.choices), caller=caller)


def pack_activations(least: Draft, choose: Chooser, given: Sequence[Op]) -> Draft:
    """The same program, with activations packed if that makes its arena smaller.

    Args:
        least: without stripes, nothing packed.
        choose: gives a node its kernel.
        given: the operators in the model's order.
    """
    graph, caller = least.program.graph, least.caller
    bits = _packable(graph)
    bytes_ = _Packing(graph, least.choices)
    live = bytes_.live(caller)
    ways, found = [(max(live, default=0), bytes_)], bytes_
    while names := _alive(graph, bits, [step for step, size in enumerate(live) if size == max(live)]):
        for name in names:
            # It is not tried again, packed or not.
            found = _packed(found, bytes_, name, bits.pop(name), choose) or found
        live = found.live(caller)
        # A layer between bytes and packed codes cannot work in place: the peak may fall once both are packed.
        if max(live) < ways[-1][0]:
            ways.append((max(live), found))
    least_peak = ways[-1][0]
    best = next(way for peak, way in ways if peak <= _NEAR * least_peak)
    if best is bytes_:
        return least
    smaller = draft(best.graph, best.choices, caller=caller)
    if smaller.arena_bytes >= least.arena_bytes:
        return least
    ordering = least.program.ordering
    if ordering.changed:
        choice_of = {op.name: choice for op, choice in zip(best.graph.ops, best.choices, strict=True)}
        unmoved = draft(replace(best.graph, ops=tuple(given)), [choice_of[op.name] for op in given], caller=caller)
        ordering = replace(ordering, given_arena_bytes=unmoved.arena_bytes)
    return replace(smaller, program=replace(smaller.program, ordering=ordering))


def _packable(graph: Graph) -> dict[str, int]:
    """Bits per code of every tensor that could be packed: written by a layer and read by layers only."""
    kept = {*graph.sources, *graph.sinks}
    written = [graph.tensors[name] for op in graph.ops for name in op.outputs if name not in kept]
    return {tensor.name: bits for tensor in written if (bits := _bits(tensor)) and _packed_bytes(tensor, bits)}


def _bits(tensor: Tensor) -> int:
    """Bits per packed code; 0 if it cannot be packed."""
    if not isinstance(tensor.encoding, Levels) or tensor.encoding.bits > 4:
        return 0
    return 2 if tensor.encoding.bits == 2 else 4


def _packed_bytes(tensor: Tensor, bits: int) -> bool:
    """Whether packing saves bytes: channels are padded to words."""
    return replace(tensor, code_bits=bits).nbytes < tensor.nbytes


def _alive(graph: Graph, bits: Mapping[str, int], steps: Sequence[int]) -> list[str]:
    """Names of `bits` that are live at one of these steps, in the order in which they are written."""
    last = last_uses(graph)
    return [
        name
        for first, op in enumerate(graph.ops)
        for name in op.outputs
        if name in bits and any(first <= step <= last[name] for step in steps)
    ]


def _packed(at: _Packing, in_bytes: _Packing, name: str, bits: int, choose: Chooser) -> _Packing | None:
    """One more tensor packed; None if a layer has no kernel for that, or only a slower one."""
    tensor = replace(at.graph.tensors[name], code_bits=bits)
    graph = replace(at.graph, tensors={**at.graph.tensors, name: tensor})
    choices = list(at.choices)
    for index, op in enumerate(graph.ops):
        if name not in (*op.inputs, *op.outputs):
            continue
        try:
            choices[index] = choose(graph.node(op))
        except UnsupportedError:
            return None
    found = _Packing(graph, choices)
    pairs = zip(choices, in_bytes.choices, strict=True)
    dear = any(one.fastest.cycles > (1 + _SLOWER) * other.fastest.cycles for one, other in pairs)
    return None if dear and found.cycles > (1 + _OF_ALL) * in_bytes.cycles else found
