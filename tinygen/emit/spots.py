"""Where the application finds what layers write, those of branches included."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.lowering.layers import Layer
from tinygen.lowering.program import Program


@dataclass(frozen=True)
class _Outside:
    """What a branch's program lies in: the program and its scratch, and the tensors that it is handed."""

    program: Program
    scratch: int
    ports: dict[str, str]


class Spots:
    """Of one program.

    Args:
        program: all of a switch.
        first: bytes from the arena's start to where its offsets count from.
    """

    def __init__(self, program: Program, first: int) -> None:
        self._first, self._whole = first, program
        self._outside: dict[int, _Outside] = {}
        self._look(program)

    def _look(self, program: Program) -> None:
        for step in program.layers:
            for inner in step.branches:
                # The first input is the index, which no branch is given.
                inputs, outputs = step.node.op.inputs[1:], step.node.op.outputs
                ports = dict(zip((*inner.graph.inputs, *inner.graph.outputs), (*inputs, *outputs), strict=True))
                self._outside[id(inner)] = _Outside(program, step.scratch_offset, ports)
                self._look(inner)

    def of(self, layer: Layer, tensor: str) -> dict[str, int]:
        """Bytes into the arena, or into a buffer of the caller's, of which 1 is the first."""
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
        """Where a program's offsets count from."""
        if program is self._whole:
            return self._first
        outside = self._outside[id(program)]
        return self._start(outside.program) + outside.scratch
