"""Registers of the core itself: system control space with SysTick, and DWT (Armv7-M ARM, DDI 0403).

Interrupts are not emulated: enabling one is an error. The trap bits of CCR keep what is written and trap nothing;
unaligned accesses that always fault are found by a strict run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tinygen.targets.board import MemoryTiming
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral

DWT_BASE, SCS_BASE = 0xE0001000, 0xE000E000
_DWT_CTRL, _CYCCNT, _DWT_LAR, _DWT_LSR = 0x000, 0x004, 0xFB0, 0xFB4
_LAR_KEY = 0xC5ACCE55
_SYST_CSR, _SYST_RVR, _SYST_CVR = 0x010, 0x014, 0x018
_ENABLE, _TICKINT, _CLKSOURCE, _COUNTFLAG = 1 << 0, 1 << 1, 1 << 2, 1 << 16
_NVIC_ISER, _NVIC_ISER_END = 0x100, 0x120
_CPUID, _ICSR, _VTOR, _AIRCR, _CCR, _CLIDR, _CTR, _CCSIDR, _CSSELR, _CPACR, _DEMCR = (
    0xD00,
    0xD04,
    0xD08,
    0xD0C,
    0xD14,
    0xD78,
    0xD7C,
    0xD80,
    0xD84,
    0xD88,
    0xDFC,
)
_CPUIDS = {
    "cortex-m7": 0x410FC271,
    "cortex-m4": 0x410FC241,
    "cortex-m3": 0x412FC231,
    "cortex-m0": 0x410CC200,
    "cortex-m33": 0x410FD211,
}
_CCR_CACHES, _CCR_DC, _DCIMVAC = 3 << 16, 1 << 16, 0xF5C
_TRCENA = 1 << 24


@dataclass
class Dwt(Peripheral):
    """The cycle counter. It counts when DEMCR.TRCENA and CYCCNTENA are set, and on Cortex-M7 its lock is open.

    Attributes:
        clock: cycles of the core since reset.
        trace_on: whether DEMCR.TRCENA is set.
        has_lock: writes are ignored until LAR holds the key.
    """

    clock: Callable[[], int] = lambda: 0
    trace_on: Callable[[], bool] = lambda: True
    has_lock: bool = False
    _locked: bool = field(default=True, init=False)
    _base_count: int = field(default=0, init=False)
    _running_since: int | None = field(default=None, init=False)

    def read(self, offset: int) -> int:
        if offset == _CYCCNT:
            return self._count() & 0xFFFFFFFF
        if offset == _DWT_LSR:
            return (1 | int(self._locked) << 1) if self.has_lock else 0
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == _DWT_LAR:
            self._locked = value != _LAR_KEY
        if not self.trace_on() or (self.has_lock and self._locked):
            return  # as the hardware does
        if offset == _CYCCNT:
            self._base_count = value
            if self._running_since is not None:
                self._running_since = self.clock()
        if offset == _DWT_CTRL:
            self._base_count = self._count()
            self._running_since = self.clock() if value & 1 else None
        super().write(offset, value)

    def _count(self) -> int:
        return self._base_count + (0 if self._running_since is None else self.clock() - self._running_since)


@dataclass
class SystemControlSpace(Peripheral):
    """SysTick, NVIC and SCB.

    Attributes:
        clock: cycles of the core since reset.
        core: "cortex-m7".
        fpu_switched: called when CPACR lets floating point through, or no longer.
        code_cache, data_cache: bytes, where the core has caches.
        discarded: called with an address whose line of the data cache is discarded.
    """

    clock: Callable[[], int] = lambda: 0
    core: str = "cortex-m7"
    fpu_switched: Callable[[bool], None] = lambda on: None
    code_cache: int = 4096
    data_cache: int = 4096
    discarded: Callable[[int], None] = lambda address: None
    _tick_start: int = field(default=0, init=False)
    _wraps_seen: int = field(default=0, init=False)

    def read(self, offset: int) -> int:
        if offset == _SYST_CSR:
            return super().read(offset) | self._count_flag()
        if offset == _SYST_CVR:
            period = self._period()
            return (period - self._ticks() % period) % period
        if offset == _CPUID:
            return _CPUIDS.get(self.core, 0)
        if offset == _CLIDR:
            return 0x09000003 if self._has_caches else 0
        if offset == _CTR:
            return 0x8303C003 if self._has_caches else 0x8000C000
        if offset == _CCSIDR and self._has_caches:
            instructions = super().read(_CSSELR) & 1
            return _cache_size_id(self.code_cache, 2) if instructions else _cache_size_id(self.data_cache, 4)
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        self._refuse_interrupts(offset, value)
        if offset == _DCIMVAC:
            self.discarded(value)
            return
        if offset in (_SYST_CVR, _SYST_CSR, _SYST_RVR):
            self._write_systick(offset, value)
            return
        if offset == _CCR and not self._has_caches:
            value &= ~_CCR_CACHES
        if offset == _VTOR and value & 0x7F:
            raise Forbidden("SCB_VTOR", value, "a vector table is aligned to 128 bytes at least (DDI 0403 B3.2.5)")
        super().write(offset, value)
        if offset == _CPACR:
            self.fpu_switched(value >> 20 & 0xF == 0xF)

    def data_cache_on(self) -> bool:
        """CCR.DC."""
        return bool(self.registers.get(_CCR, 0) & _CCR_DC)

    @property
    def _has_caches(self) -> bool:
        return self.core == "cortex-m7"

    def trace_on(self) -> bool:
        """DEMCR.TRCENA."""
        return bool(self.registers.get(_DEMCR, 0) & _TRCENA)

    def _refuse_interrupts(self, offset: int, value: int) -> None:
        if (offset == _SYST_CSR and value & _TICKINT) or (_NVIC_ISER <= offset < _NVIC_ISER_END and value):
            name = "SYST_CSR" if offset == _SYST_CSR else f"NVIC_ISER{(offset - _NVIC_ISER) // 4}"
            raise Forbidden(name, value, "enables an interrupt; emulated boards have none, so use QEMU or the board")
        if offset == _ICSR and value & (1 << 26 | 1 << 28 | 1 << 31):
            raise Forbidden("SCB_ICSR", value, "makes an exception pending; emulated boards have none")
        if offset == _AIRCR and value >> 16 == 0x05FA and value & 1 << 2:
            raise Forbidden("SCB_AIRCR", value, "the firmware resets itself")

    def _write_systick(self, offset: int, value: int) -> None:
        if offset == _SYST_CVR:  # any write clears it, DDI 0403 B3.3.5
            self._tick_start, self._wraps_seen = self.clock(), 0
            return
        if offset == _SYST_CSR and value & _ENABLE and not self.registers.get(_SYST_CSR, 0) & _ENABLE:
            self._tick_start, self._wraps_seen = self.clock(), 0
        super().write(offset, value & (0x7 if offset == _SYST_CSR else 0xFFFFFF))

    def _period(self) -> int:
        return self.registers.get(_SYST_RVR, 0) + 1

    def _ticks(self) -> int:
        control = self.registers.get(_SYST_CSR, 0)
        if not control & _ENABLE:
            return 0
        # STM32 feeds SysTick's other clock with HCLK / 8.
        return (self.clock() - self._tick_start) // (1 if control & _CLKSOURCE else 8)

    def _count_flag(self) -> int:
        wraps = self._ticks() // self._period()
        new, self._wraps_seen = wraps > self._wraps_seen, wraps
        return _COUNTFLAG if new else 0


def _cache_size_id(size: int, ways: int) -> int:
    """CCSIDR of a cache with lines of 32 bytes, coded log2(words) - 2 (Cortex-M7 TRM, DDI 0489, 3.3.5)."""
    return 0xF << 28 | (size // (32 * ways) - 1) << 13 | (ways - 1) << 3 | 1


def set_cache_sizes(peripherals: Sequence[Peripheral], timing: MemoryTiming | None) -> None:
    """Sets the sizes of the board's caches in the system control space among `peripherals`."""
    for peripheral in peripherals:
        if timing is not None and isinstance(peripheral, SystemControlSpace):
            peripheral.code_cache, peripheral.data_cache = timing.code.size, timing.data.size


def core_peripherals(core: str, clock: Callable[[], int], fpu_switched: Callable[[bool], None]) -> list[Peripheral]:
    """Peripherals of every Cortex-M core; `clock` gives cycles since reset."""
    space = SystemControlSpace("SCS", SCS_BASE, 0x1000, clock=clock, core=core, fpu_switched=fpu_switched)
    lock = core == "cortex-m7"
    return [Dwt("DWT", DWT_BASE, 0x1000, clock=clock, trace_on=space.trace_on, has_lock=lock), space]
