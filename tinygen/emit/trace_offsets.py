"""Addresses of the tensors that layers write, including layers in branches."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.lowering.layers import Layer
from tinygen.lowering.program import Program


@dataclass(frozen=True)
class _Outside:
    """The surroundings of a branch's program: the outer program, its scratch, and the branch operator's tensors."""

    program: Program
    scratch: int
    ports: dict[str, str]


class TraceOffsets:
    """Addresses of one program's tensors.

    Args:
        program: all of a switch.
        first: bytes from the arena's start to the program's offset 0.
    """

    def __init__(self, program: Program, first: int) -> None:
        self._first, self._whole = first, program
        self._outside: dict[int, _Outside] = {}
        self._look(program)

    def _look(self, program: Program) -> None:
        for step in program.layers:
            for inner in step.branches:
                # The first input is the index, which is not passed to branches.
                inputs, outputs = step.node.op.inputs[1:], step.node.op.outputs
                ports = dict(zip((*inner.graph.inputs, *inner.graph.outputs), (*inputs, *outputs), strict=True))
                self._outside[id(inner)] = _Outside(program, step.scratch_offset, ports)
                self._look(inner)

    def of(self, layer: Layer, tensor: str) -> dict[str, int]:
        """The `buffer` (0 is the arena, those from 1 on are the caller's) and the `offset` in bytes of a tensor."""
        return self._found(layer.program, tensor)

    def _found(self, program: Program, tensor: str) -> dict[str, int]:
        if tensor not in program.ported:
            return {"buffer": 0, "offset": self._start(program) + program.offsets[tensor]}
        port, offset = program.ported[tensor]
        if program is self._whole:
            return {"buffer": 1 + (*program.graph.inputs, *program.graph.outputs).index(port), "offset": offset}
        outside = self._outside[id(program)]
        found = self._found(outside.program, outside.ports[port])
        return {**found, "offset": found["offset"] + offset}

    def _start(self, program: Program) -> int:
        """Bytes from the arena's start to a program's offset 0."""
        if program is self._whole:
            return self._first
        outside = self._outside[id(program)]
        return self._start(outside.program) + outside.scratch
