"""The layers of a program and of its branches, numbered in an order in which they finish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tinygen.lowering.program import Program, Step


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that runs code: an operator, or one branch of a branch operator, which finishes after the branch's
    layers.

    Attributes:
        number: passed to the observer.
        step: of the operator.
        program: the program that the step belongs to.
        prefix: of the names of the program's tensors, "" or `choice/0/`.
        branch: the branch's number; None for other operators.
    """

    number: int
    step: Step
    program: Program
    prefix: str = ""
    branch: int | None = None

    @property
    def name(self) -> str:
        """`conv_2d_0`, `choice/0/conv_2d_0`, or `choice/0` for a branch itself."""
        name = self.step.node.op.name
        return name if self.branch is None else f"{name}/{self.branch}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates; a branch's are those of the layers within it."""
        return self.step.node.op.macs(self.step.node) if self.branch is None else 0


def all_layers(program: Program, prefix: str = "") -> Iterator[Layer]:
    """All layers by number: the layers of a branch come before the branch itself."""
    for step in program.layers:
        yield from layers_of(step, program, prefix)


def layers_of(step: Step, program: Program, prefix: str = "") -> Iterator[Layer]:
    """The layers of one step: one, except for branch operators."""
    if not step.branches:
        yield Layer(step.index, step, program, prefix)
    for branch, inner in enumerate(step.branches):
        yield from all_layers(inner, f"{step.node.op.name}/{branch}/")
        yield Layer(step.marks[branch], step, program, prefix, branch)


def numbered(programs: Sequence[Program], first: int) -> tuple[tuple[Program, ...], tuple[int, ...], int]:
    """Branches with their layers numbered from `first`, the number of each branch, and the next free number."""
    found, marks = [], []
    for program in programs:
        renumbered, first = _renumbered(program, first)
        found.append(renumbered)
        marks.append(first)
        first += 1
    return tuple(found), tuple(marks), first


def _renumbered(program: Program, first: int) -> tuple[Program, int]:
    steps = []
    for step in program.steps:
        if step.index < 0:
            steps.append(step)
            continue
        branches, marks, after = numbered(step.branches, first)
        after = after if branches else first + 1
        steps.append(replace(step, index=after - 1, branches=branches, marks=marks))
        first = after
    return replace(program, steps=tuple(steps)), first
