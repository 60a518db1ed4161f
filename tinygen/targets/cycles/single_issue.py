"""Cores that issue one instruction at a time: Cortex-M3, M4, M0+, M33 and the RISC-V core of the ESP32-C3.

Sources:
    TRM     Arm 100166 (M4), DDI 0337 (M3), DDI 0484 (M0+): tables of processor instructions
    TI      SWCU192, reprints of Arm's load and store timings
    jnk0le  github.com/jnk0le/random, measurements on STM32F407 and RP2350 ("cortex_m3m4.md", "cortex_m33.md")
    LLVM    ARMScheduleM4.td
    ctrlsrc ctrlsrc.io, "Counting CPU cycles on ESP32-C3 and ESP32-C6" (2023)

The M4's and M33's sums are 1 to 14 % off whole published programs (tests/timing/points.yaml); the others' rules are
their sources' alone.

All assume memories without wait states; what flash costs is added elsewhere. Not modelled: misaligned accesses,
contention of instruction fetches with literal loads, the few pairs of 16-bit instructions that an M33 issues
together (but for IT and branches), divisions that end early (an average is taken).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tinygen.targets.cycles.instruction import MACS, Instruction, Kind
from tinygen.targets.cycles.pipeline import Entry, Issued, Schedule

_MEMORY = frozenset({Kind.LOAD, Kind.STORE, Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE})
_COMPUTES = frozenset({Kind.ALU, Kind.SHIFT, Kind.SHIFTED, Kind.BITS, Kind.MAC, Kind.LONG_MAC})


@dataclass(frozen=True)
class Costs:
    """A core's numbers, in cycles.

    Attributes:
        mac, accumulate, long_mac, long_accumulate: multiplications without and with an accumulator.
        mac_latency: until a result is used other than as an accumulator.
        shifted_latency: of an operation with an inline shift.
        divide: an average.
        load, store: single, without neighbours.
        indexed_store: with a register as offset.
        load_latency: from issue until the value is used, where loads do not stall by themselves; 1: no stall.
        pipelined_loads: a load right behind another load or store costs a cycle less.
        pipelines_across_buses: also when they go to different buses (jnk0le: loads from different memories do not).
        address_stall: lost when the instruction before makes the address.
        multiple_base: of a multiple load or store, beside one per word.
        taken: lost by a taken branch. wide_target: more when its target is a 32-bit instruction across two words.
        jump_discount: how much less an unconditional branch loses.
        call_extra: of a call of a fixed address.
        load_pc_extra: beside `taken`, of a load to pc.
        it_folds: an IT behind a 16-bit instruction costs nothing.
        float_op, float_latency, float_mac, float_mac_latency, float_divide: single precision.
        table_branch: beside `taken`.
    """

    mac: int = 1
    accumulate: int = 1
    long_mac: int = 1
    long_accumulate: int = 1
    mac_latency: int = 1
    shifted_latency: int = 1
    divide: int = 6
    load: int = 2
    store: int = 1
    indexed_store: int = 2
    load_latency: int = 1
    pipelined_loads: bool = True
    pipelines_across_buses: bool = False
    address_stall: int = 1
    multiple_base: int = 1
    taken: int = 2
    wide_target: int = 1
    jump_discount: int = 0
    call_extra: int = 0
    load_pc_extra: int = 0
    it_folds: bool = True
    float_op: int = 1
    float_latency: int = 2
    float_mac: int = 3
    float_mac_latency: int = 3
    float_divide: int = 14
    table_branch: int = 2


CORTEX_M4 = Costs()
# M3: multiplications as in DDI 0337's table: MLA 2, SMULL 3 to 5, SMLAL 4 to 7.
CORTEX_M3 = Costs(accumulate=2, long_mac=4, long_accumulate=5)
# M33 (jnk0le): loads 1 with use after 2, multiplications 1 with use after 2, branches 2.
CORTEX_M33 = Costs(
    mac_latency=2,
    shifted_latency=2,
    load=1,
    load_latency=2,
    indexed_store=1,
    pipelined_loads=False,
    address_stall=0,
    multiple_base=0,
    taken=1,
    wide_target=0,
    float_mac=3,
    divide=6,
)
# M0+ (DDI 0484C, table 3.1): loads and stores 2 (1 on the single-cycle I/O port, which holds no data of ours), multiple
# ones 1 + N, branch 2, BL 3, BX and BLX 2, POP to pc 3 + N, MULS 1 or 32: STM32 and RP2040 have the fast multiplier.
CORTEX_M0PLUS = Costs(
    store=2,
    indexed_store=2,
    pipelined_loads=False,
    address_stall=0,
    taken=1,
    wide_target=0,
    call_extra=1,
    load_pc_extra=1,
    it_folds=False,
)
CORTEX_M0PLUS_SLOW = replace(CORTEX_M0PLUS, mac=32)
# ESP32-C3 (ctrlsrc): load 2, branch 1 and 3 taken, jump 2; MULH 2 and DIV 10 are the C6's (LLTA-Bench).
ESP32C3 = Costs(
    long_mac=2,
    divide=10,
    load=2,
    indexed_store=1,
    pipelined_loads=False,
    address_stall=0,
    taken=2,
    wide_target=0,
    jump_discount=1,
    it_folds=False,
)


@dataclass
class _State:
    cycle: int = 0
    before: Instruction | None = None
    ready: dict[str, int] = field(default_factory=dict)  # for any use
    chained: dict[str, int] = field(default_factory=dict)  # for use as an accumulator


class SingleIssue:
    """A core that issues one instruction at a time; see the module."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs

    def entry(self, first: Instruction, how: Entry) -> int:
        if how is not Entry.JUMP:
            return 0
        crosses = first.size == 4 and first.address % 4 == 2
        return self.costs.taken + (self.costs.wide_target if crosses else 0)

    def schedule(self, code: Sequence[Instruction]) -> Schedule:
        state = _State()
        issued = []
        for new in code:
            cycle, why = self._earliest(state, new)
            issued.append(Issued(new, cycle, why))
            duration = self._duration(state.before, new)
            self._results(state, new, cycle, duration)
            state.cycle, state.before = cycle + duration, new
        return Schedule(tuple(issued), state.cycle)

    def _earliest(self, state: _State, new: Instruction) -> tuple[int, str]:
        cycle, why = state.cycle, ""
        for register in sorted(new.reads):
            chain = register in new.accumulated or register in new.stored
            at = (state.chained if chain else state.ready).get(register, 0)
            if at > cycle:
                cycle, why = at, f"waits for {register}"
        before = state.before
        makes_address = before is not None and before.kind in _COMPUTES and before.writes & new.address_registers
        if makes_address and self.costs.address_stall:
            cycle, why = cycle + self.costs.address_stall, "address made by the instruction before"
        return cycle, why

    def _results(self, state: _State, new: Instruction, cycle: int, duration: int) -> None:
        costs = self.costs
        latency = chained = duration
        if new.kind in MACS:
            latency = max(duration, costs.mac_latency)
        elif new.kind is Kind.SHIFTED:
            latency = max(duration, costs.shifted_latency)
        elif new.kind is Kind.LOAD:
            latency = max(duration, costs.load_latency)
        elif new.kind is Kind.FLOAT:
            latency = chained = max(duration, costs.float_latency)
        elif new.kind is Kind.FLOAT_MAC:
            latency = chained = max(duration, costs.float_mac_latency)
        for register in new.writes:
            state.ready[register], state.chained[register] = cycle + latency, cycle + chained
        if new.updated_base:
            state.ready[new.updated_base] = state.chained[new.updated_base] = cycle + 1

    def _duration(self, before: Instruction | None, new: Instruction) -> int:
        """Cycles until the next instruction can issue, if nothing stalls it."""
        costs = self.costs
        kind = new.kind
        if kind in _MEMORY:
            return self._memory(before, new)
        if kind in MACS:
            accumulates = bool(new.accumulated)
            if kind is Kind.LONG_MAC:
                return costs.long_accumulate if accumulates else costs.long_mac
            return costs.accumulate if accumulates else costs.mac
        if kind is Kind.BRANCH:
            call = new.is_call and new.target is not None
            return 1 + (costs.call_extra if call else 0) - (0 if new.conditional else costs.jump_discount)
        if kind is Kind.IT:
            return 0 if costs.it_folds and before is not None and before.size == 2 else 1
        return {
            Kind.DIVIDE: costs.divide,
            Kind.TABLE_BRANCH: costs.table_branch,
            Kind.FLOAT: costs.float_op,
            Kind.FLOAT_MAC: costs.float_mac,
            Kind.FLOAT_DIVIDE: costs.float_divide,
            Kind.FLOAT_MOVE: max(new.words, 1),
            Kind.BARRIER: 3,
        }.get(kind, 1)

    def _memory(self, before: Instruction | None, new: Instruction) -> int:
        costs = self.costs
        extra = costs.load_pc_extra if new.writes_pc else 0
        if new.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
            return costs.multiple_base + new.words + extra
        if new.kind is Kind.STORE:
            alone = costs.indexed_store if new.index else costs.store
            if new.float_access:
                alone = costs.load
        else:
            alone = costs.load
        if new.access_bytes == 8:
            alone += 1
        return alone + extra - (1 if alone > 1 and self._pipelined(before, new) else 0)

    def _pipelined(self, before: Instruction | None, new: Instruction) -> bool:
        costs = self.costs
        if not costs.pipelined_loads or before is None or before.kind is not Kind.LOAD or new.kind is not Kind.LOAD:
            return False
        if before.writes & new.address_registers:
            return False  # the address has to come back first
        if before.base == new.base and before.updated_base:
            return False  # jnk0le: pre- and post-indexed loads through one base
        known = bool(before.memory and new.memory)
        return costs.pipelines_across_buses or not known or before.memory == new.memory
