"""The block counter in Python, where no C compiler is found: the same counts, three to five times slower."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinygen.targets.emulator.counting import (
    ARM_SECOND,
    ATOMIC,
    FIRST_LAYER,
    FPU_DOUBLE,
    FPU_ON,
    ILLEGAL_ATOMIC,
    ILLEGAL_DOUBLE,
    ILLEGAL_FLOAT,
    ILLEGAL_FPU_OFF,
    ILLEGAL_UNALIGNED,
    OBSERVER,
    OUTSIDE,
    RISCV_SECOND,
    BlockRow,
    Cost,
    Registers,
)
from tinygen.targets.emulator.stalls import NO_REGISTER, Access, CacheState, TimedCost

_NO_BASE = 16
_NONE = Registers((), 0, False)


@dataclass
class _Block:
    size: int
    instructions: int
    cycles: int
    count: int = 0
    stalls: int = 0
    accesses: tuple[Access, ...] = ()


@dataclass
class PythonCounter:
    """hooks.c, line by line; see `Counter`."""

    total: int = 0
    cycles: int = 0
    limit: int = 0
    limited: int = 0
    invoke: int = 0
    observer: int = 0
    bucket: int = OUTSIDE
    lost: int = 0
    features: int = 0
    illegal: int = 0
    illegal_pc: int = 0
    illegal_address: int = 0
    _layer: int = 0
    _finished: list[int] = field(default_factory=list)
    _invoke_return: int = 0
    _observer_return: int = 0
    _cost: Cost | None = None
    _registers: Registers = _NONE
    _blocks: dict[tuple[int, int], _Block] = field(default_factory=dict)
    _bases: dict[int, int] = field(default_factory=dict)
    _code: CacheState | None = None
    _data: CacheState | None = None
    _last: _Block | None = None

    def install(self, uc: Any, registers: Registers, *, blocks: bool, alignment: bool, cost: Cost | None) -> None:
        import unicorn

        self._cost, self._registers = cost, registers
        if isinstance(cost, TimedCost):
            cost.attach(lambda register: self._register(uc, register))
            if cost.caches:
                code, data = cost.caches
                self._code = CacheState(code)
                self._data = self._code if data is code else CacheState(data)
        if blocks:
            uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block)
        if alignment and not registers.riscv:
            uc.hook_add(unicorn.UC_HOOK_CODE, self._on_instruction)

    def rows(self) -> list[BlockRow]:
        return [
            BlockRow(address, b.size, bucket, b.instructions, b.cycles, b.count, b.stalls)
            for (address, bucket), b in self._blocks.items()
            if b.count
        ]

    def order(self) -> list[int]:
        return list(self._finished)

    def clear(self) -> None:
        for block in self._blocks.values():
            block.count = block.stalls = 0

    def _on_block(self, uc: Any, address: int, size: int, user: Any) -> None:
        self._mark(uc, address)
        block = self._blocks.get((address, self.bucket))
        if block is None or block.size != size:
            instructions = self._examine(uc, address, size)
            cycles = self._cost(address, size, instructions) if self._cost else instructions
            block = _Block(size, instructions, cycles, block.count if block else 0, block.stalls if block else 0)
            if isinstance(self._cost, TimedCost):
                block.accesses = tuple(self._cost.accesses)
            self._blocks[address, self.bucket] = block
            if self.illegal:
                uc.emu_stop()
                return
        block.count += 1
        self.total += block.instructions
        self.cycles += block.cycles
        if self._code is not None and self._data is not None:
            stalls = self._stalls(uc, address, block, self._code, self._data)
            block.stalls += stalls
            self.cycles += stalls
        if self.total >= self.limit:
            self.limited = 1
            uc.emu_stop()

    def _stalls(self, uc: Any, address: int, block: _Block, code: CacheState, data: CacheState) -> int:
        # What has just run is still there: loops need no look.
        stalls = 0 if block is self._last else code.read(address, block.size)
        self._last = block
        for access in block.accesses:
            start = access.offset
            if access.base != NO_REGISTER:
                start += self._register(uc, access.base)
            if access.scaled != NO_REGISTER:
                start += self._register(uc, access.scaled) << access.shift
            stalls += data.read(start & 0xFFFFFFFF, access.size)
        return stalls

    def _mark(self, uc: Any, address: int) -> None:
        if address == self._observer_return:
            self._observer_return = 0
            self._layer += 1
            self.bucket = FIRST_LAYER + self._layer
        if address == self._invoke_return:
            self._invoke_return = 0
            self.bucket = OUTSIDE
        if address == self.invoke:
            self._invoke_return = self._return_address(uc)
            self._layer = 0
            self._finished = []
            self.bucket = FIRST_LAYER
        elif address == self.observer and self.bucket >= FIRST_LAYER:
            self._observer_return = self._return_address(uc)
            self.bucket = OBSERVER
            self._finished.append(self._register(uc, RISCV_SECOND if self._registers.riscv else ARM_SECOND))

    def _examine(self, uc: Any, address: int, size: int) -> int:
        code = bytes(uc.mem_read(address, size))
        at = instructions = 0
        while at + 1 < size:
            first = _halfword(code, at)
            riscv = self._registers.riscv
            wide = first & 3 == 3 if riscv else first >> 11 >= 0x1D
            illegal = 0
            if riscv:
                illegal = self._lacks_riscv(first)
            elif wide and at + 3 < size:
                illegal = self._lacks_thumb(first, _halfword(code, at + 2))
            if illegal and not self.illegal:
                self.illegal, self.illegal_pc = illegal, address + at
            at += 4 if wide else 2
            instructions += 1
        return instructions

    def _lacks_riscv(self, first: int) -> int:
        if first & 3 != 3:
            return ILLEGAL_FLOAT if not first & 1 and first & 0x2000 else 0
        opcode = first & 0x7F
        if opcode == 0x2F:
            return 0 if self.features & ATOMIC else ILLEGAL_ATOMIC
        return ILLEGAL_FLOAT if opcode in (0x07, 0x27) or 0x43 <= opcode <= 0x53 else 0

    def _lacks_thumb(self, first: int, second: int) -> int:
        if first & 0xEC00 == 0xEC00 and second & 0x0E00 == 0x0A00 and not self.features & FPU_ON:
            return ILLEGAL_FPU_OFF
        arithmetic = first & 0xEF00 == 0xEE00 and second & 0x0F10 == 0x0B00
        conversion = first & 0xFFBF == 0xEEB7 and second & 0x0ED0 == 0x0AC0
        return ILLEGAL_DOUBLE if (arithmetic or conversion) and not self.features & FPU_DOUBLE else 0

    def _on_instruction(self, uc: Any, address: int, size: int, user: Any) -> None:
        base = self._bases.get(address)
        if base is None:
            code = bytes(uc.mem_read(address, size)).ljust(4, b"\0")
            base = self._bases[address] = _aligned_base(_halfword(code, 0), _halfword(code, 2))
        if base >= 15 or self.illegal:
            return
        value = self._register(uc, base)
        if value & 3:
            self.illegal, self.illegal_pc, self.illegal_address = ILLEGAL_UNALIGNED, address, value
            uc.emu_stop()

    def _register(self, uc: Any, number: int) -> int:
        return int(uc.reg_read(self._registers.ids[number]))

    def _return_address(self, uc: Any) -> int:
        return self._register(uc, self._registers.link) & ~1


def _halfword(code: bytes, at: int) -> int:
    return code[at] | code[at + 1] << 8


def _aligned_base(first: int, second: int) -> int:
    if first & 0xF000 == 0xC000:
        return first >> 8 & 7
    if first & 0xF600 == 0xB400:
        return 13
    if first & 0xFFE0 == 0xE8C0 and not second & 0xA0:
        return _NO_BASE
    floating = first & 0xFFE0 != 0xEC40 and first & 0xFE00 == 0xEC00 and second & 0x0E00 == 0x0A00
    return first & 15 if floating or first & 0xFE00 == 0xE800 else _NO_BASE
