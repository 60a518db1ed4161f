"""The Program: every decision made, nothing left for the templates to decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor
from tinygen.lowering.plan import Constant, Kernel, KernelPlan
from tinygen.lowering.planner import ALIGNMENT, Buffer, MemoryPlan
from tinygen.lowering.states import Move


class Io(StrEnum):
    """Where inputs and outputs are stored: in the arena, or in buffers that the caller passes to each inference."""

    ARENA = "arena"
    CALLER = "caller"


@dataclass(frozen=True, eq=False)
class Step:
    """One layer with its kernel.

    Attributes:
        index: number among the layers that run code, those in branches included, as passed to the observer; -1 for
            aliases.
        scratch_offset: bytes from the arena's start, if the plan needs scratch.
        branches: programs of its branches, whose arenas are in its scratch.
        marks: for each branch, the number passed to the observer when it has run; the last is `index`.
    """

    index: int
    node: Node
    kernel: Kernel
    plan: KernelPlan
    scratch_offset: int = 0
    branches: tuple[Program, ...] = ()
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ordering:
    """The decision about the order of operators.

    Attributes:
        given_arena_bytes: the arena in the model's order.
        changed: another order is used, because its arena is smaller.
        optimal: no order has a lower peak of live bytes than the one used.
    """

    given_arena_bytes: int
    changed: bool
    optimal: bool


@dataclass(frozen=True)
class Streamed:
    """How the first stage is computed in stripes.

    Attributes:
        operators: of the model, in the stage.
        stripes, rows: number of stripes, and rows of the stage's output in each (the last may have less).
        keep: whether rows that two stripes share are kept instead of computed twice.
        macs: multiply-accumulates without stripes; stripes add `recomputed_macs`.
        arena_bytes_before: the smallest arena without stripes, with the least scratch.
    """

    operators: tuple[str, ...]
    stripes: int
    rows: int
    keep: bool
    macs: int
    recomputed_macs: int
    arena_bytes_before: int


@dataclass(frozen=True, eq=False)
class Program:
    """A graph with every decision made, ready for `emit`.

    Attributes:
        graph: what it computes.
        steps: layers in order, aliases included.
        offsets: arena offset of every tensor that lives there, by name.
        caller: inputs and outputs in buffers of the caller; empty if all are in the arena.
        ported: for every tensor in such a buffer: the input or output it belongs to, and the offset in bytes.
        buffers: the arena's buffers with their lifetimes, for the report.
        memory: their places.
        ordering: whether operators were reordered, and what that saves.
        isa: instruction sets of the core it was made for.
        streamed: how the first stage is computed in stripes, if it is.
        moves: copies after the last step, in order.
    """

    graph: Graph
    steps: tuple[Step, ...]
    offsets: dict[str, int]
    buffers: tuple[Buffer, ...]
    memory: MemoryPlan
    ordering: Ordering
    isa: frozenset[str] = frozenset()
    streamed: Streamed | None = None
    moves: tuple[Move, ...] = ()
    caller: frozenset[str] = frozenset()
    ported: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def packed(self) -> tuple[str, ...]:
        """Tensors of packed codes."""
        return tuple(name for name, tensor in self.graph.tensors.items() if tensor.code_bits)

    @property
    def state_bytes(self) -> int:
        """Bytes of states, without thresholds, which invocations do not change."""
        return sum(self.graph.tensors[state.tensor].nbytes for state in self.graph.states if not state.threshold)

    @property
    def alignment(self) -> int:
        """The arena's, in bytes."""
        return max((step.plan.alignment for step in self.steps), default=ALIGNMENT)

    @property
    def io(self) -> Io:
        return Io.CALLER if self.caller else Io.ARENA

    @property
    def layers(self) -> tuple[Step, ...]:
        """The steps that run code, in order."""
        return tuple(step for step in self.steps if step.index >= 0)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(self.graph.tensors[name] for name in self.graph.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(self.graph.tensors[name] for name in self.graph.outputs)


def all_constants(step: Step) -> Iterator[Constant]:
    """Constant arrays of a step, and of the steps of its branches."""
    yield from constants_of(step)
    for program in step.branches:
        for inner in program.layers:
            yield from all_constants(inner)


def constants_of(step: Step) -> tuple[Constant, ...]:
    """Constant arrays of a step: those its kernel packed, then constant tensors that are operands."""
    operands = []
    for name, index in step.plan.operands:
        tensor = step.node.input(index)
        if tensor.data is not None:
            in_memory = np.frombuffer(tensor.to_memory(tensor.data), tensor.memory_dtype)
            operands.append(Constant(name, in_memory, tensor.describe()))
    return (*step.plan.constants, *operands)
