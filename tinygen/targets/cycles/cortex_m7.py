"""Cortex-M7: in order, two issue slots.

Sources (each disagrees with the others somewhere; where they do, the value is a field of `Parameters`):
    TRM     Arm DDI 0489, structure of the core
    jnk0le  github.com/jnk0le/random, measurements on STM32H743, "cortex_m7.md"
    Q       quinapalus.com/cm7cycles.html, measurements on STM32H730
    LLVM    ARMScheduleM7.td;  SLOTHY  slothy/targets/arm_v7m/cortex_m7.py
Arm publishes no cycle counts for this core.

The stages that matter: EX1 makes addresses and shifts early; EX2 has the ALU and word loads; EX3 byte and halfword
loads and the multiplier's sum; EX4 store data. A result is therefore late for some uses and not for others, which
`_LATENCY` says. Not modelled: unaligned accesses, the store buffer filling up, bank conflicts between loads
through different base registers, what the branch predictor learns of forward branches (taken as predicted).

The pairing rules give the ratios that were measured between hand-written programs within 4 %; hand-written AES is
predicted 10 to 31 % too slow, whole compiled programs 24 % too fast to 20 % too slow (tests/timing/points.yaml).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tinygen.targets.cycles.instruction import (
    FLAGS,
    FLOATS,
    LOADS,
    MACS,
    STORES,
    Instruction,
    Kind,
)
from tinygen.targets.cycles.pipeline import Entry, Issued, Schedule

# Cycles until an operation can use a result as: an ALU operand, an operand of the inline shifter or of a plain
# shift by register, an address, a multiplicand, an accumulator, store data.
_ALU, _EARLY, _ADDRESS, _MULTIPLICAND, _ACCUMULATOR, _STORED = range(6)
_LATENCY: dict[Kind, tuple[int, int, int, int, int, int]] = {
    Kind.ALU: (1, 2, 1, 1, 1, 0),
    Kind.SHIFT: (1, 2, 2, 1, 1, 0),  # jnk0le: one cycle more as an address
    Kind.SHIFTED: (1, 2, 2, 1, 1, 0),
    Kind.BITS: (1, 2, 2, 1, 1, 0),
    Kind.MAC: (2, 3, 3, 2, 1, 1),  # LLVM ReadMAC: the accumulator of the next one comes in time
    Kind.LONG_MAC: (2, 3, 3, 2, 1, 1),
    Kind.DIVIDE: (1, 1, 1, 1, 1, 1),
    Kind.LOAD: (1, 2, 3, 2, 1, 1),  # Q: three cycles from load to load in a pointer chase
    Kind.LOAD_MULTIPLE: (1, 2, 3, 2, 1, 1),
    Kind.FLOAT: (3, 3, 3, 3, 3, 2),
    Kind.FLOAT_MAC: (5, 5, 5, 5, 3, 4),
    Kind.FLOAT_DIVIDE: (1, 1, 1, 1, 1, 1),
    Kind.FLOAT_MOVE: (1, 2, 2, 3, 3, 1),
}
_NARROW_LOAD = (2, 3, 4, 3, 1, 2)  # bytes and halfwords come a stage later; an accumulator is in time all the same
_FLOAT_LOAD = (1, 1, 1, 1, 3, 1)
_ALONE = frozenset({Kind.DIVIDE, Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE, Kind.TABLE_BRANCH, Kind.BARRIER})
_UNITS = (
    ("multiplier", MACS),
    ("shifter", frozenset({Kind.SHIFTED})),
    ("store port", STORES),
    ("FPU", FLOATS),
)
_ONE_CYCLE = frozenset({Kind.ALU, Kind.SHIFT, Kind.SHIFTED, Kind.BITS})
_SIMPLE = frozenset({Kind.ALU})


@dataclass(frozen=True)
class Parameters:
    """Values on which the sources disagree, or which they only bound.

    Attributes:
        early_forward: an addition or move in the older slot feeds an ALU operation in the younger one (jnk0le).
        bits_to_multiplicand: cycles from an extension or SIMD operation to a multiplicand.
        branch_bubble: cycles lost when a predicted branch is taken, beyond its issue slot: 0 or 1.
        mispredict: cycles lost at the end of a loop: 4 (LLVM) to 8 (jnk0le).
        multiple_stall: cycles a multiple load needs beyond one for two registers: 0 or 1.
        divide: cycles of a division: 3 to 20 by the operands, 7 (LLVM).
        narrow_store: cycles the store port is busy with a byte or halfword: 2 to 2.4 (jnk0le).
        load_pairs: loads through different base registers issue together. They do unless their banks collide, which
            the registers' values decide.

    Two were chosen by measurements (tests/timing/points.yaml): `branch_bubble` and `load_pairs`. The rest hardly
    move those measurements, and are what most of the sources say.
    """

    early_forward: bool = True
    bits_to_multiplicand: int = 1
    branch_bubble: int = 0
    mispredict: int = 7
    multiple_stall: int = 1
    divide: int = 7
    narrow_store: int = 2
    load_pairs: bool = False


@dataclass
class _State:
    """The machine while it issues: `ready[register]` is (cycle it was issued in, its latencies)."""

    ready: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    cycle: int = 0
    older: Instruction | None = None  # what already issued in `cycle`, while a slot is free
    store_free: int = 0
    float_free: int = 0


class CortexM7:
    """See the module."""

    def __init__(self, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or Parameters()

    def entry(self, first: Instruction, how: Entry) -> int:
        if how is Entry.LOOP_EXIT:
            return self.parameters.mispredict
        return self.parameters.branch_bubble if how is Entry.JUMP else 0

    def schedule(self, code: Sequence[Instruction]) -> Schedule:
        state = _State()
        issued = []
        for instruction in code:
            cycle, why = self._earliest(state, instruction)
            issued.append(Issued(instruction, cycle, why))
            self._issue(state, instruction, cycle)
        return Schedule(tuple(issued), state.cycle + (1 if state.older else 0))

    def _earliest(self, state: _State, new: Instruction) -> tuple[int, str]:
        """When `new` can issue, and why not in the cycle before."""
        older = state.older
        cycle, why = state.cycle, ""
        if older is not None:
            problem = self._cannot_pair(older, new)
            if problem:
                cycle, why = cycle + 1, problem
        for register in sorted(new.reads):
            at = self._operand_ready(state, new, register, cycle)
            if at > cycle:
                cycle, why = at, f"waits for {register}"
        if new.kind in STORES and state.store_free > cycle:
            cycle, why = state.store_free, "store port busy"
        if new.kind is Kind.FLOAT and state.float_free > cycle:
            cycle, why = state.float_free, "FPU busy"
        return cycle, why

    def _operand_ready(self, state: _State, new: Instruction, register: str, cycle: int) -> int:
        if register not in state.ready:
            return 0
        issued, latency = state.ready[register]
        at = issued + latency[self._use(new, register)]
        older = state.older
        if older is not None and register in older.all_writes and issued == cycle and at > cycle:
            return cycle if self._forwards(older, new, register) else at
        return at

    def _forwards(self, older: Instruction, new: Instruction, register: str) -> bool:
        """Whether the younger instruction of a pair uses the older one's result in the same cycle."""
        if {older.name, new.name} == {"movw", "movt"}:
            return True
        plain = older.kind in _SIMPLE and new.kind in _SIMPLE and not (older.conditional or new.conditional)
        return self.parameters.early_forward and plain and register != FLAGS

    def _use(self, new: Instruction, register: str) -> int:
        """For what `new` needs `register`; the earliest use where there are several."""
        if register in new.address_registers:
            return _ADDRESS
        if register in new.shifted:
            return _EARLY
        if register in new.stored:
            return _STORED
        if new.kind in MACS or new.kind is Kind.FLOAT_MAC:
            return _ACCUMULATOR if register in new.accumulated else _MULTIPLICAND
        return _ALU

    def _cannot_pair(self, older: Instruction, new: Instruction) -> str:
        """Why `new` cannot be the younger one beside `older`; "" when it can."""
        a, b = older.kind, new.kind
        if a in _ALONE or b in _ALONE:
            return "issues alone"
        if older.kind is Kind.BRANCH:
            untaken = older.conditional and older.target is not None and older.target > older.address
            return "" if untaken else "behind a taken branch"
        if b is Kind.BITS:
            return "SIMD and extensions take the older slot"
        for unit, members in _UNITS:
            if a in members and b in members:
                return f"one {unit}"
        if {a, b} == {Kind.BITS, Kind.SHIFTED}:
            return "SIMD beside the inline shifter"
        if (a in MACS and b in STORES) or (a in STORES and b in MACS):
            return "a multiplication beside a store"
        if Kind.FLOAT_MAC in (a, b) and (older.float_access or new.float_access):
            return "VFMA beside an FPU load"
        # The younger result of two ALU operations simply replaces the older one; other units finish at other times.
        if a not in _ONE_CYCLE and (older.all_writes & new.all_writes) - {FLAGS}:
            return "writes the same register"
        if a in LOADS and b in LOADS and not self._loads_pair(older, new):
            return "same bank"
        return ""

    def _loads_pair(self, older: Instruction, new: Instruction) -> bool:
        """Two loads issue together when one takes the even and one the odd word (DTCM or D-cache)."""
        same_base = older.base == new.base and not older.index and not new.index
        if not same_base:
            return self.parameters.load_pairs and older.updated_base != new.base
        if older.updated_base:
            return False
        return (older.offset >> 2 ^ new.offset >> 2) & 1 == 1

    def _issue(self, state: _State, new: Instruction, cycle: int) -> None:
        p = self.parameters
        pairs = state.older is not None and cycle == state.cycle
        busy = 1
        if new.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
            busy = -(-new.words // 2) + (p.multiple_stall if new.kind is Kind.LOAD_MULTIPLE else 0)
        elif new.kind is Kind.DIVIDE:
            busy = p.divide
        elif new.kind is Kind.FLOAT_DIVIDE:
            busy = 16 if new.name == "vdiv" else 14
        elif new.kind is Kind.TABLE_BRANCH:
            busy = 2
        latency: tuple[int, ...] = _LATENCY.get(new.kind, _LATENCY[Kind.ALU])
        if new.kind is Kind.LOAD:
            narrow = new.access_bytes in (1, 2)
            latency = _FLOAT_LOAD if new.float_access else _NARROW_LOAD if narrow else latency
        if new.kind is Kind.BITS:
            latency = (*latency[:_MULTIPLICAND], p.bits_to_multiplicand, *latency[_MULTIPLICAND + 1 :])
        for register in new.writes:
            state.ready[register] = (cycle + busy - 1, latency)
        if new.updated_base:
            state.ready[new.updated_base] = (cycle, _LATENCY[Kind.ALU])
        if new.kind is Kind.STORE:
            state.store_free = cycle + (p.narrow_store if new.access_bytes in (1, 2) else 1)
        if new.kind is Kind.FLOAT_MAC:
            # jnk0le: additions wait three cycles behind a VFMA; another VFMA does not.
            state.float_free = cycle + 3
        state.cycle, state.older = cycle, new
        if pairs or new.kind in _ALONE or busy > 1:
            state.cycle, state.older = cycle + busy, None
