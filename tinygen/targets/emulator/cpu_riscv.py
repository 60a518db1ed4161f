"""The RISC-V cores of Espressif's chips in Unicorn: machine mode only, no floating point, no interrupts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import unicorn
from unicorn import riscv_const

from tinygen.targets.board import Board
from tinygen.targets.emulator.counting import ATOMIC, Registers
from tinygen.targets.emulator.cpu import Cpu
from tinygen.targets.emulator.memory import Memories
from tinygen.targets.emulator.peripheral import Peripheral
from tinygen.targets.emulator.symbols import Symbols

EXTENSIONS: dict[str, str] = {"esp32c3": "imc", "esp32c6": "imac"}
"""Instruction set extensions of each core, besides the CSR instructions (ESP32-C3 TRM chapter 1; ESP32-C6 TRM chapter
1).
"""

_NAMES = (
    "zero",
    "ra",
    "sp",
    "gp",
    "tp",
    "t0",
    "t1",
    "t2",
    "s0",
    "s1",
    *(f"a{n}" for n in range(8)),
    *(f"s{n}" for n in range(2, 12)),
    "t3",
    "t4",
    "t5",
    "t6",
)
_IDS = tuple(riscv_const.UC_RISCV_REG_X0 + n for n in range(32))
_RA, _SP, _A0 = 1, 2, 10
_ILLEGAL, _BREAKPOINT = 2, 3
# Unicorn moves the program counter behind the instruction before it says that one is illegal, by 4 at any size.
_STEP = 4
# mpcer, mpcmr and mpccr: events to count, whether to count, and the count (esp-idf, riscv/rv_utils.h).
_PCER, _PCMR, _PCCR = 0x7E0, 0x7E1, 0x7E2
_CYCLES = 1
_SYSTEM = 0x73


class RiscvCpu(Cpu):
    """An RV32IM(A)C core of Espressif's. Its cycle counter is none of the standard's, so it is added here."""

    link = "ra"
    registers = Registers(_IDS, link=_RA, riscv=True)
    # Of mcause (RISC-V privileged architecture, 3.1.15).
    exceptions = {
        0: "an instruction address that is odd",
        1: "an instruction fetch from nowhere",
        _ILLEGAL: "an illegal instruction",
        _BREAKPOINT: "EBREAK: a breakpoint without a debugger",
        4: "a misaligned load",
        5: "a load from nowhere",
        6: "a misaligned store",
        7: "a store to nowhere",
        8: "ECALL: the firmware has no supervisor",
        11: "ECALL: the firmware has no supervisor",
    }

    def __init__(self, core: str) -> None:
        self.core, self.uc = core, unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        self._clock: Callable[[], int] = lambda: 0
        self._csrs = {_PCER: 0, _PCMR: 0}
        self._counted = self._since = 0
        self._illegal_at: int | None = None

    @property
    def pc(self) -> int:
        if self._illegal_at is not None:
            return self._illegal_at
        return int(self.uc.reg_read(riscv_const.UC_RISCV_REG_PC))

    @property
    def sp(self) -> int:
        return int(self.uc.reg_read(_IDS[_SP]))

    def values(self) -> dict[str, int]:
        return {name: self.uc.reg_read(number) for name, number in zip(_NAMES[1:], _IDS[1:], strict=True)}

    def entry(self, address: int) -> int:
        self._illegal_at = None
        return address

    def reset(self, board: Board, memories: Memories, symbols: Symbols) -> int:
        """The boot ROM calls the image's entry, on a stack of its own, which the firmware must not rely on."""
        self.uc.reg_write(_IDS[_RA], 0)
        self.uc.reg_write(_IDS[_SP], 0)
        return symbols.entry

    def prepare_call(self, arguments: Sequence[int], top: int, back: int) -> bytes:
        """The first eight arguments in a0 to a7, the rest on the stack (RISC-V calling convention, ILP32)."""
        extra = b"".join((value & 0xFFFFFFFF).to_bytes(4, "little") for value in arguments[8:])
        self.uc.reg_write(_IDS[_SP], top - len(extra) & ~15)
        self.uc.reg_write(_IDS[_RA], back)
        for register, value in enumerate(arguments[:8]):
            self.uc.reg_write(_IDS[_A0 + register], value & 0xFFFFFFFF)
        return extra

    def result(self) -> int:
        return int(self.uc.reg_read(_IDS[_A0]))

    def features(self, extensions: Sequence[str], *, float_on: bool = True) -> int:
        return ATOMIC if "a" in EXTENSIONS[self.core] else 0

    def exception(self, number: int) -> bool:
        """An access to the cycle counter is illegal in Unicorn, and is emulated here."""
        if number != _ILLEGAL:
            # ECALL: the program counter is behind it as well.
            self._illegal_at = int(self.uc.reg_read(riscv_const.UC_RISCV_REG_PC)) - _STEP
            return False
        at = int(self.uc.reg_read(riscv_const.UC_RISCV_REG_PC)) - _STEP
        try:
            code = int.from_bytes(self.uc.mem_read(at, 4), "little")
        except unicorn.UcError:
            code = 0
        if code & 0x7F == _SYSTEM and code >> 20 in (_PCER, _PCMR, _PCCR) and code >> 12 & 3:
            self._access_counter(code)
            return True
        self._illegal_at = at
        return False

    def failed(self, failure: Exception) -> int | None:
        """Unicorn takes EBREAK for an invalid instruction."""
        if isinstance(failure, unicorn.UcError) and failure.errno == unicorn.UC_ERR_INSN_INVALID:
            return _BREAKPOINT
        return None

    def peripherals(self, clock: Callable[[], int], features: Callable[[bool], None]) -> list[Peripheral]:
        self._clock = clock
        return []

    def _access_counter(self, code: int) -> None:
        """CSRRW, CSRRS, CSRRC and their immediate forms (RISC-V unprivileged architecture, Zicsr)."""
        csr, source, how, target = code >> 20, code >> 15 & 31, code >> 12 & 3, code >> 7 & 31
        operand = source if code >> 14 & 1 else int(self.uc.reg_read(_IDS[source]))
        old = self._count() if csr == _PCCR else self._csrs[csr]
        if how == 1 or source:
            self._write_counter(csr, {1: operand, 2: old | operand, 3: old & ~operand}[how] & 0xFFFFFFFF)
        if target:
            self.uc.reg_write(_IDS[target], old)

    def _counts(self) -> bool:
        return bool(self._csrs[_PCER] & _CYCLES and self._csrs[_PCMR] & 1)

    def _count(self) -> int:
        passed = self._clock() - self._since if self._counts() else 0
        return self._counted + passed & 0xFFFFFFFF

    def _write_counter(self, csr: int, value: int) -> None:
        self._counted = value if csr == _PCCR else self._count()
        self._since = self._clock()
        if csr != _PCCR:
            self._csrs[csr] = value
