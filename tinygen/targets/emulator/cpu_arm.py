"""Cortex-M in Unicorn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import unicorn
from unicorn import arm_const

from tinygen.targets.board import Board
from tinygen.targets.emulator.core import core_peripherals
from tinygen.targets.emulator.counting import FPU_DOUBLE, FPU_ON, Registers
from tinygen.targets.emulator.cpu import Cpu
from tinygen.targets.emulator.memory import Memories
from tinygen.targets.emulator.peripheral import Peripheral
from tinygen.targets.emulator.symbols import Symbols

MODELS: dict[str, int] = {
    "cortex-m0": arm_const.UC_CPU_ARM_CORTEX_M0,
    # The same instructions in other times.
    "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m0plus-slow-multiplier": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
}
_NAMES = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr")
_IDS = tuple(getattr(arm_const, f"UC_ARM_REG_{name.upper()}") for name in _NAMES)
# QEMU's numbers (target/arm/cpu.h), which Unicorn passes on.
_UNDEFINED, _NOT_THUMB = 1, 18


class ArmCpu(Cpu):
    """A Cortex-M. It executes Thumb only, so branch targets carry bit 0."""

    link = "lr"
    registers = Registers(_IDS, link=14, riscv=False)
    exceptions = {
        _UNDEFINED: "an undefined instruction",
        2: "SVC: the firmware has no supervisor",
        3: "a prefetch abort",
        4: "a data abort",
        7: "BKPT: a breakpoint without a debugger",
        8: "a branch into the exception range",
        17: "no coprocessor",
        _NOT_THUMB: "not in Thumb state: an address without its lowest bit set was branched to",
    }

    def __init__(self, core: str) -> None:
        # UC_MODE_MCLASS must not be set: with it Unicorn 2.1.4 ignores the CPU model.
        self.core, self.uc = core, unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
        self.uc.ctl_set_cpu_model(int(MODELS[core]))
        # Unicorn's own FPU switches; whether the firmware may use it, CPACR decides (see `core_peripherals`).
        self.uc.reg_write(arm_const.UC_ARM_REG_C1_C0_2, 0xF << 20)
        self.uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)

    @property
    def pc(self) -> int:
        return int(self.uc.reg_read(arm_const.UC_ARM_REG_PC))

    @property
    def sp(self) -> int:
        return int(self.uc.reg_read(arm_const.UC_ARM_REG_SP))

    def values(self) -> dict[str, int]:
        return {name: self.uc.reg_read(number) for name, number in zip(_NAMES, _IDS, strict=True)}

    def entry(self, address: int) -> int:
        return address | 1

    def reset(self, board: Board, memories: Memories, symbols: Symbols) -> int:
        """Stack and program counter come from the vector table (DDI 0403 B1.5.5)."""
        vectors = memories.read(board.link_flash.origin, 8)
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self.uc.reg_write(arm_const.UC_ARM_REG_LR, 0xFFFFFFFF)
        return int.from_bytes(vectors[4:], "little") & ~1

    def prepare_call(self, arguments: Sequence[int], top: int, back: int) -> bytes:
        """The first four arguments in r0 to r3, the rest on the stack (AAPCS)."""
        extra = b"".join((value & 0xFFFFFFFF).to_bytes(4, "little") for value in arguments[4:])
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, top - len(extra) & ~7)
        self.uc.reg_write(arm_const.UC_ARM_REG_LR, back | 1)
        for register, value in enumerate(arguments[:4]):
            self.uc.reg_write(arm_const.UC_ARM_REG_R0 + register, value & 0xFFFFFFFF)
        return extra

    def result(self) -> int:
        return int(self.uc.reg_read(arm_const.UC_ARM_REG_R0))

    def features(self, extensions: Sequence[str], *, float_on: bool = True) -> int:
        if not float_on or not any(extension.startswith("fpu") for extension in extensions):
            return 0
        return FPU_ON | (FPU_DOUBLE if "fpu-dp" in extensions else 0)

    def failed(self, failure: Exception) -> int | None:
        if not isinstance(failure, unicorn.UcError) or failure.errno != unicorn.UC_ERR_INSN_INVALID:
            return None
        in_thumb_state = self.uc.reg_read(arm_const.UC_ARM_REG_XPSR) >> 24 & 1
        return _UNDEFINED if in_thumb_state else _NOT_THUMB

    def peripherals(self, clock: Callable[[], int], features: Callable[[bool], None]) -> list[Peripheral]:
        return core_peripherals(self.core, clock, features)
