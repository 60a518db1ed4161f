"""The interface of block counters, in C (`native`) and in Python (`fallback`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

OUTSIDE, OBSERVER, FIRST_LAYER = 0, 1, 2
ARM_SECOND, RISCV_SECOND = 1, 11
"""Registers with a function's second argument: of an observer, the layer."""
FPU_ON, FPU_DOUBLE, ATOMIC = 1, 2, 4
ILLEGAL_FPU_OFF, ILLEGAL_DOUBLE, ILLEGAL_UNALIGNED, ILLEGAL_FLOAT, ILLEGAL_ATOMIC = 1, 2, 3, 4, 5

Cost = Callable[[int, int, int], int]
"""cost(address, size, instructions): cycles of one pass through a block of `size` bytes; asked once per block."""


@dataclass(frozen=True)
class Watch:
    """What to count and check while a core executes.

    Attributes:
        count: count instructions (native hook).
        strict: also stop at unaligned accesses that the core would fault on; several times slower. None: where it
            counts.
        cost: cycles of a block, see `Cost`.
        native: see `make_counter`.
    """

    count: bool = True
    strict: bool | None = None
    cost: Cost | None = None
    native: bool | None = None

    @property
    def alignment(self) -> bool:
        return self.count if self.strict is None else self.strict


WATCH = Watch()


@dataclass(frozen=True)
class Registers:
    """An architecture, as the counter needs it.

    Attributes:
        ids: Unicorn's number of each register, in the architecture's own order.
        link: the register that a call leaves its return address in.
        riscv: RISC-V's instructions, not Thumb's.
    """

    ids: tuple[int, ...]
    link: int
    riscv: bool


class BlockRow(NamedTuple):
    """One line of the table.

    Attributes:
        address, size: of the block, in bytes.
        bucket: OUTSIDE, OBSERVER, or FIRST_LAYER + n for layer n; where branches skip layers, for the n-th that ran.
        instructions, cycles: of one pass; instructions that an IT block skips are counted.
        passes: how often it ran.
        stalls: cycles lost to memory in all passes.
    """

    address: int
    size: int
    bucket: int
    instructions: int
    cycles: int
    passes: int
    stalls: int


class Counter(Protocol):
    """Counts executed blocks, watches for instructions the core lacks, and stops at a limit.

    Attributes:
        total, cycles: since reset.
        limit: `limited` is set, and the emulator stops, when `total` reaches it.
        invoke, observer: entries of an inference and of what is called after each layer; 0 for none.
        bucket: the bucket of the code that executes now.
        lost: blocks for which the table had no room; the emulator stops at the first.
        features: FPU_* and ATOMIC bits.
        illegal, illegal_pc, illegal_address: ILLEGAL_* that stopped the emulator, where, and the unaligned address.
    """

    total: int
    cycles: int
    limit: int
    limited: int
    invoke: int
    observer: int
    bucket: int
    lost: int
    features: int
    illegal: int
    illegal_pc: int
    illegal_address: int

    def install(self, uc: Any, registers: Registers, *, blocks: bool, alignment: bool, cost: Cost | None) -> None:
        """Adds the hooks to a Unicorn engine; must precede its first `emu_start`, or blocks already
        translated are never seen.

        Args:
            registers: of the engine's architecture.
            blocks: count them.
            alignment: on Arm, watch every instruction for accesses that must be aligned and are not. (A memory hook
                would be the natural way, but in Unicorn 2.1.4 one that is called within an IT block leaves the IT
                state set, and the next block's first instructions are wrongly skipped.)
            cost: see `Cost`; a `TimedCost` also gives the memories' timing.
        """

    def rows(self) -> list[BlockRow]:
        """Every block with a count, in no particular order."""

    def order(self) -> list[int]:
        """The layers that the last inference reported to its observer, in order; empty if there are thousands."""

    def clear(self) -> None:
        """Forgets the counts; `total`, `cycles` and marks stay."""
