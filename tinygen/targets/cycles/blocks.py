"""Cycles of basic blocks, from a pipeline model; the emulator multiplies them by how often each block ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from tinygen.targets.cycles.addresses import ARM, loads, merged
from tinygen.targets.cycles.instruction import Instruction
from tinygen.targets.cycles.pipeline import Entry, Pipeline, steady_state
from tinygen.targets.emulator.stalls import NO_REGISTER, Access, Cache

Read = Callable[[int, int], bytes]
Decode = Callable[[bytes, int], list[Instruction]]
_Decoded = tuple[list[Instruction], list[Access | None], list[Access]]


@lru_cache(maxsize=8192)  # a firmware runs more than once: for its profile, for checks, for inferences
def _decode_block(decode: Decode, code: bytes, address: int) -> list[Instruction]:
    return decode(code, address)


class BlockCost:
    """Cycles of one pass through a block; a `TimedCost` for the emulator.

    A block is scheduled by itself, with all registers ready; one that branches to its own start is scheduled as a
    loop in its steady state, so that what it carries from pass to pass and what issues across the branch counts.
    The cost of a taken branch is counted in the block it leads to (see `Entry`). What a block is entered by is
    told from the blocks seen before: one behind a conditional branch falls through, and where that branch was a
    loop's, it is the loop's exit. A block that is both fallen into and jumped to is counted as fallen into.

    Which of the core's buses a load uses is told from the registers at the block's first pass (`attach`).

    Attributes:
        caches: see `TimedCost`.
        accesses: see `TimedCost`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        decode: Decode,
        read: Read,
        caches: tuple[Cache, Cache] | None = None,
        numbers: Mapping[str, int] = ARM,
    ) -> None:
        self._pipeline, self._decode, self._read, self._numbers = pipeline, decode, read, numbers
        self.caches: tuple[Cache, Cache] | None = caches
        self.accesses: Sequence[Access] = ()
        self._blocks: dict[tuple[int, int], _Decoded] = {}
        self._cycles: dict[tuple[int, int, tuple[str, ...]], int] = {}
        self._register: Callable[[int], int] | None = None
        self._behind: dict[int, Entry] = {}

    def __call__(self, address: int, size: int, instructions: int) -> int:
        """Cycles; see `tinygen.targets.emulator.counting.Cost`."""
        code, reads, together = self._decoded(address, size)
        self.accesses = together if self.caches is not None else ()
        if not code:
            return instructions
        buses = tuple(self._bus(read) if read else "" for read in reads)
        how = self._behind.get(address, Entry.JUMP)
        self._note_end(code[-1])
        undecoded = max(instructions - len(code), 0)
        # One function may run as many layers: its blocks are scheduled once.
        key = (address, size, buses)
        if key not in self._cycles:
            placed = [i if i.memory == bus else replace(i, memory=bus) for i, bus in zip(code, buses, strict=True)]
            self._cycles[key] = self.cycles(placed)
        return self._cycles[key] + undecoded + self._pipeline.entry(code[0], how)

    def _decoded(self, address: int, size: int) -> _Decoded:
        key = (address, size)
        if key not in self._blocks:
            code = _decode_block(self._decode, bytes(self._read(address, size)), address)
            reads = loads(code, self._numbers)
            self._blocks[key] = (code, reads, merged(reads))
        return self._blocks[key]

    def cycles(self, code: Sequence[Instruction]) -> int:
        """Cycles of the instructions alone."""
        if code[-1].target == code[0].address and not code[-1].is_call:
            return steady_state(self._pipeline, code)
        return self._pipeline.schedule(code).cycles

    def attach(self, register: Callable[[int], int]) -> None:
        """See `TimedCost`."""
        self._register = register

    def _bus(self, read: Access) -> str:
        """The 512 MB region of the Armv7-M memory map (DDI 0403 B3.1): code and SRAM have buses of their own."""
        numbers = {read.base, read.scaled} - {NO_REGISTER}
        if self._register is None and numbers:
            return ""
        value = {n: self._register(n) for n in numbers} if self._register else {}
        address = read.offset + value.get(read.base, 0) + (value.get(read.scaled, 0) << read.shift)
        return str((address & 0xFFFFFFFF) >> 29)

    def _note_end(self, last: Instruction) -> None:
        if not last.writes_pc:
            self._behind[last.end] = Entry.FALL_THROUGH  # the emulator ends blocks at pages, too
        elif last.conditional:
            backward = last.target is not None and last.target <= last.address
            self._behind[last.end] = Entry.LOOP_EXIT if backward else Entry.FALL_THROUGH
