"""Common parts of the pipeline models: a schedule of a straight piece of code, and how it may be entered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from tinygen.targets.cycles.instruction import Instruction


class Entry(Enum):
    """How execution comes to the first instruction of a block.

    A block that does not lie behind a conditional branch can only have been jumped to, so the cost of taking a
    branch is counted where it leads, not where it stands: there it is known without counting edges.
    """

    JUMP = auto()
    FALL_THROUGH = auto()
    LOOP_EXIT = auto()  # a backward branch before it was not taken


@dataclass(frozen=True)
class Issued:
    """When an instruction issues, and why not earlier ("" if nothing delayed it)."""

    instruction: Instruction
    cycle: int
    why: str = ""


@dataclass(frozen=True)
class Schedule:
    """Issue cycles of a straight piece of code, from 0; `cycles` is when the code behind it could issue."""

    issued: tuple[Issued, ...]
    cycles: int


class Pipeline(Protocol):
    """The timing model of a core."""

    def schedule(self, code: Sequence[Instruction]) -> Schedule:
        """Issues `code` with every register ready and no memory stall."""

    def entry(self, first: Instruction, how: Entry) -> int:
        """Cycles lost on the way to the block that starts with `first`."""


def steady_state(pipeline: Pipeline, body: Sequence[Instruction]) -> int:
    """Cycles of one pass through a loop body that branches to its own start, without `entry`."""
    once, twice = pipeline.schedule(body).cycles, pipeline.schedule([*body, *body]).cycles
    return twice - once
