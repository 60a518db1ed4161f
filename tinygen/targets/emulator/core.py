"""Registers of the core itself: system control block, SysTick, DWT (Armv7-M ARM, B3 and C1.8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinygen.targets.emulator.peripheral import Peripheral

DWT_BASE, SCS_BASE = 0xE0001000, 0xE000E000
_CYCCNT = 0x004
_SYST_CSR, _SYST_RVR, _SYST_CVR = 0x010, 0x014, 0x018
_CCSIDR, _CLIDR = 0xD80, 0xD78
_CPUID, _CPUIDS = 0xD00, {"cortex-m7": 0x410FC271, "cortex-m4": 0x410FC241, "cortex-m3": 0x412FC231}
# 4 KB, 4 ways (RM0385 1.4): 32 sets of 32-byte lines; line size is coded as log2(words) - 2.
_CACHE_4K = (31 << 13) | (3 << 3) | 1


@dataclass
class Dwt(Peripheral):
    """The cycle counter."""

    clock: Callable[[], int] = lambda: 0
    origin: int = 0

    def read(self, offset: int) -> int:
        if offset == _CYCCNT:
            return (self.clock() - self.origin) & 0xFFFFFFFF
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == _CYCCNT:
            self.origin = self.clock() - value
            return
        super().write(offset, value)


@dataclass
class SystemControlSpace(Peripheral):
    """SysTick (without its interrupt), NVIC and SCB."""

    clock: Callable[[], int] = lambda: 0
    core: str = "cortex-m7"
    registers: dict[int, int] = field(default_factory=dict)

    def read(self, offset: int) -> int:
        if offset == _SYST_CVR:
            period = (self.registers.get(_SYST_RVR, 0) & 0xFFFFFF) + 1
            return (period - 1 - self.clock() % period) & 0xFFFFFF
        if offset == _CCSIDR:
            return _CACHE_4K
        if offset == _CPUID:
            return _CPUIDS.get(self.core, 0)
        return super().read(offset)


def core_peripherals(core: str, clock: Callable[[], int]) -> list[Peripheral]:
    """Those of every Cortex-M; `clock` gives cycles since reset."""
    return [
        Dwt("DWT", DWT_BASE, 0x1000, clock=clock),
        SystemControlSpace("SCS", SCS_BASE, 0x1000, clock=clock, core=core),
    ]
