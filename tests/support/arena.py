"""Runs a program's operators over one piece of memory, to see whether its memory plan holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.tensor import Tensor
from tinygen.lowering.program import Program, Step

_ABSENT = np.zeros(0, np.int64)


def run_in_arena(program: Program, inputs: Sequence[np.ndarray], arena: np.ndarray | None = None) -> list[np.ndarray]:
    """The model's outputs, every tensor read from and written to where the plan has it.

    Scratch is spoiled before a step and after it, and so are outputs before their step, except where the kernel
    says that they may lie on an input: a plan that shares bytes wrongly gives wrong outputs.

    Args:
        arena: of `new_arena` or an earlier run, whose states it keeps; None begins anew.
    """
    arena = new_arena(program) if arena is None else arena
    for tensor, value in zip(program.inputs, inputs, strict=True):
        _store(program, arena, tensor, value)
    for step in program.steps:
        if step.plan.is_alias:
            continue
        _spoil_scratch(step, arena)
        for index, tensor in enumerate(step.node.outputs):
            if not _on_an_input(program, step, index):
                _bytes(program, arena, tensor)[:] = 0x5A
        values = [_value(program, arena, tensor) for tensor in step.node.inputs]
        results = step.node.op.evaluate(step.node, values)
        for tensor, result in zip(step.node.outputs, results, strict=True):
            _store(program, arena, tensor, result)
        _spoil_scratch(step, arena)
    for move in program.moves:
        target, source = program.offsets[move.state], program.offsets[move.update]
        arena[target : target + move.size] = arena[source : source + move.size].copy()
    return [_value(program, arena, tensor) for tensor in program.outputs]


def new_arena(program: Program) -> np.ndarray:
    """Rubbish, and what states begin with."""
    arena = np.full(program.memory.arena_bytes, 0xA5, np.uint8)
    for state in program.graph.states:
        tensor = program.graph.tensors[state.tensor]
        _store(program, arena, tensor, state.initial)
    return arena


def spoil_all_but_states(program: Program, arena: np.ndarray) -> None:
    """What may happen between two invocations: other code uses the rest of the arena."""
    kept = np.zeros(len(arena), bool)
    for state in program.graph.states:
        start = program.offsets[state.tensor]
        kept[start : start + program.graph.tensors[state.tensor].nbytes] = True
    arena[~kept] = 0x3C


def _bytes(program: Program, arena: np.ndarray, tensor: Tensor) -> np.ndarray:
    start = program.offsets[tensor.name]
    assert 0 <= start <= len(arena) - tensor.nbytes
    return arena[start : start + tensor.nbytes]


def _store(program: Program, arena: np.ndarray, tensor: Tensor, codes: np.ndarray) -> None:
    _bytes(program, arena, tensor)[:] = np.frombuffer(tensor.to_memory(codes), np.uint8)


def _value(program: Program, arena: np.ndarray, tensor: Tensor | None) -> np.ndarray:
    if tensor is None:
        return _ABSENT
    if tensor.data is not None:
        return tensor.data
    return tensor.from_memory(_bytes(program, arena, tensor).tobytes())


def _on_an_input(program: Program, step: Step, output: int) -> bool:
    place = program.offsets[step.node.outputs[output].name]
    sources = [step.node.input(source) for source, target in step.plan.inplace if target == output]
    return any(not t.is_constant and program.offsets[t.name] == place for t in sources)


def _spoil_scratch(step: Step, arena: np.ndarray) -> None:
    arena[step.scratch_offset : step.scratch_offset + step.plan.scratch_bytes] = 0xC3
