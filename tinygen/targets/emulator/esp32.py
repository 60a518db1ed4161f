"""Registers of ESP32-C3 and -C6 that the firmware touches. Offsets and bits: esp-idf's soc headers of each chip.

Of the boot ROM, only the functions that the firmware calls exist: those that switch the flash cache, and those of the
bus to the analogue blocks of an ESP32-C3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tinygen.targets.board import Board, Memory
from tinygen.targets.emulator.esp32_pll import Pll, c3_analog, c6_analog
from tinygen.targets.emulator.esp32_sound import microphone_peripherals
from tinygen.targets.emulator.memory import Memories
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral, Port
from tinygen.targets.emulator.uart import Uart
from tinygen.targets.parts.others import EspC3, EspC6

XTAL_HZ, PLL_HZ, RC_FAST_HZ = 40_000_000, 80_000_000, 17_500_000
_PAGE = 0x10000
_FIFO_BYTES = 128
_KEY = 0x50D83AA1
_ROM_CALLS = 0x6FFFF000
"""Address that exists only in the emulator: its replacements of ROM functions report their calls there."""
_ROM_ARGUMENTS = 0x7C0
RomFunction = Callable[[Sequence[int]], int]
"""The effect of a ROM function, from a0 to a3; returns a0."""


@dataclass(frozen=True)
class Watchdog:
    """One watchdog of a peripheral; places are offsets in it.

    Attributes:
        config, hold, protect: of its registers; `hold` is None where the time is fixed.
        running: bits of `config` that let it run; stopped: bits that stop it all the same.
        key: what opens `config`.
        tick_hz: of `hold`; or, without, one over its time in seconds.
    """

    name: str
    config: int
    protect: int
    running: int
    tick_hz: float
    key: int = _KEY
    hold: int | None = None
    stopped: int = 0


@dataclass
class Watchdogs(Peripheral):
    """A peripheral with watchdogs, which run since reset.

    Attributes:
        seconds: since reset.
        watchdogs: in it.
    """

    seconds: Callable[[], float] = lambda: 0.0
    watchdogs: tuple[Watchdog, ...] = ()

    def write(self, offset: int, value: int) -> None:
        for watchdog in self.watchdogs:
            if offset in (watchdog.config, watchdog.hold) and self.read(watchdog.protect) != watchdog.key:
                rule = f"written while {self.name}+{watchdog.protect:#x} does not hold the key {watchdog.key:#x}"
                raise Forbidden(f"{self.name}+{offset:#x}", value, f"{rule} (TRM, watchdog timers: write protection)")
        super().write(offset, value)

    def check(self) -> None:
        """Raises Forbidden if a watchdog would have reset the chip by now."""
        for watchdog in self.watchdogs:
            config = self.read(watchdog.config)
            ticks = 1 if watchdog.hold is None else self.read(watchdog.hold)
            limit = ticks / watchdog.tick_hz
            if config & watchdog.running and not config & watchdog.stopped and self.seconds() > limit:
                rule = f"this watchdog runs since reset, and after {limit:.2f} s it resets the chip"
                raise Forbidden(f"{self.name}_{watchdog.name}", config, f"{rule} (TRM, watchdog timers)")


@dataclass
class System(Peripheral):
    """Clocks of an ESP32-C3: system_reg.h."""

    pll: Pll | None = None

    def write(self, offset: int, value: int) -> None:
        if offset == 0x08 and value & 3 > 1:
            raise Forbidden("SYSTEM_CPU_PER_CONF", value, "CPUPERIOD_SEL is 0 (80 MHz) or 1 (160 MHz)")
        if offset == 0x08 and not value & 1 << 2:
            raise Forbidden("SYSTEM_CPU_PER_CONF", value, "PLL_FREQ_SEL says 320 MHz, and the PLL runs at 480 MHz")
        if offset == 0x58 and value >> 10 & 3 == 3:
            raise Forbidden("SYSTEM_SYSCLK_CONF", value, "SOC_CLK_SEL is 0 (crystal), 1 (PLL) or 2 (RC_FAST)")
        if offset == 0x58 and value >> 10 & 3 == 1 and self.pll is not None:
            self.pll.require("SYSTEM_SYSCLK_CONF", value)
        super().write(offset, value)

    def core_hz(self) -> int:
        """Clock of the core, Hz."""
        source, divider = self.read(0x58) >> 10 & 3, (self.read(0x58) & 0x3FF) + 1
        if source == 1:
            return 160_000_000 if self.read(0x08) & 1 else 80_000_000
        return (XTAL_HZ if source == 0 else RC_FAST_HZ) // divider


@dataclass
class Pcr(Peripheral):
    """Clocks of an ESP32-C6: pcr_reg.h."""

    pll: Pll | None = None

    def write(self, offset: int, value: int) -> None:
        if offset == 0x110 and value >> 16 & 3 == 3:
            raise Forbidden("PCR_SYSCLK_CONF", value, "SOC_CLK_SEL is 0 (crystal), 1 (PLL) or 2 (RC_FAST)")
        if offset == 0x110 and value >> 16 & 3 == 1 and self.read(0x1C) >> 8 & 0xFF != 5:
            rule = "MSPI_FAST_HS_DIV_NUM is not 5: flash would run at more than 80 MHz (rtc_clk_init.c of esp-idf)"
            raise Forbidden("PCR_SYSCLK_CONF", value, rule)
        if offset == 0x110 and value >> 16 & 3 == 1 and self.pll is not None:
            self.pll.require("PCR_SYSCLK_CONF", value)
        if offset == 0x118 and value >> 8 & 0xFF not in (0, 1, 3):
            raise Forbidden("PCR_CPU_FREQ_CONF", value, "CPU_HS_DIV_NUM is 0, 1 or 3 (clk_tree_ll.h)")
        super().write(offset, value)

    def core_hz(self) -> int:
        """Clock of the core, Hz."""
        source, dividers = self.read(0x110) >> 16 & 3, self.read(0x118)
        if source == 1:
            return 120_000_000 if dividers & 1 << 16 else 160_000_000 // ((dividers >> 8 & 0xFF) + 1)
        return (XTAL_HZ if source == 0 else RC_FAST_HZ) // ((dividers & 0xFF) + 1)


@dataclass
class EspGpio(Port):
    """GPIO matrix: gpio_reg.h; outputs are set and cleared through registers of their own.

    Attributes:
        mux: the pins' other registers, io_mux_reg.h.
    """

    mux: Peripheral | None = None

    def write(self, offset: int, value: int) -> None:
        for base in (0x04, 0x20):  # GPIO_OUT, GPIO_ENABLE; behind each: set, clear
            if offset == base + 4:
                self.registers[base] = self.read(base) | value
            elif offset == base + 8:
                self.registers[base] = self.read(base) & ~value
        super().write(offset, value)
        self.settle()

    def is_high(self, pin: int) -> bool:
        """Whether the pin is an output of GPIO_OUT's (IO_MUX function 1, signal 128) and high."""
        assert self.mux is not None
        ours = self.mux.read(4 + 4 * pin) >> 12 & 7 == 1 and self.read(0x554 + 4 * pin) & 0xFF == 128
        return bool(ours and self.read(0x20) >> pin & self.read(0x04) >> pin & 1)


@dataclass
class EspUart(Uart):
    """UART0: uart_reg.h, uart_ll.h.

    Attributes:
        clock_conf: reads the register that selects its clock.
        core_hz: what the core runs at.
        update: offset of the register whose bit 0 takes CLKDIV over; None where that is not needed.
        fsm: offset of the transmitter's state.
        watched: whose watchdogs are looked after when the firmware looks at the status.
    """

    clock_conf: Callable[[], int] = lambda: 0
    core_hz: Callable[[], int] = lambda: XTAL_HZ
    update: int | None = None
    watched: tuple[Watchdogs, ...] = ()
    sends_at: int = 0x00
    _divisor: int = field(default=0, init=False)

    def read(self, offset: int) -> int:
        if offset == 0x00:
            self.once("line", self._check)
            return self.take()
        if offset == 0x1C:
            for peripheral in self.watched:
                peripheral.check()
            return min(self.waiting_bytes(), _FIFO_BYTES)
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x00:
            self.once("line", self._check)
            self.give(value)
            return
        if offset == self.update:
            self._divisor, value = self.registers.get(0x14, 0), value & ~1
        super().write(offset, value)
        if offset == 0x14 and self.update is None:
            self._divisor = value

    def rate(self) -> float:
        """Bits per second; 0 without a clock."""
        return float(self.once("rate", self._rate_now))

    def _rate_now(self) -> float:
        conf = self.clock_conf()
        bus = PLL_HZ if self.core_hz() in (80_000_000, 120_000_000, 160_000_000) else XTAL_HZ
        source = {1: bus, 2: RC_FAST_HZ, 3: XTAL_HZ}.get(conf >> 20 & 3, 0)
        sixteenths = (self._divisor & 0xFFF) * 16 + (self._divisor >> 20 & 15)
        return source / ((conf >> 12 & 0xFF) + 1) * 16 / sixteenths if sixteenths else 0.0

    def _check(self) -> None:
        conf0 = self.registers.get(0x20, 0)
        if conf0 & 0x3E != 0x1C:
            raise Forbidden(f"{self.name}_CONF0", conf0, "not 8 data bits, no parity, 1 stop bit")
        self.check_rate(f"{self.name}_CLKDIV", self._divisor, self.rate(), XTAL_HZ)


@dataclass
class FlashCache:
    """The flash cache and its table of pages: what the CPU sees of flash.

    Attributes:
        flash: the memory behind it, which begins at page 1: page 0 holds the image's header and what the ROM loads.
        buses: reads the register that shuts buses: bit 0 that for instructions, bit 1 that for data.
    """

    flash: Memory
    buses: Callable[[], int] = lambda: 0
    on: bool = True
    pages: dict[int, int] = field(default_factory=dict)
    _memories: Memories | None = None
    _shown: list[tuple[int, int]] = field(default_factory=list)

    def connect(self, memories: Memories) -> None:
        """Says what the memories are."""
        self._memories = memories

    def map(self, register: str, entry: int, page: int | None) -> None:
        """Makes an entry of the table that page of flash; None: nothing.

        Raises:
            Forbidden: while the cache is on.
        """
        if self.on:
            rule = "the table changes while the cache is on (esp-idf, set_cache_and_start_app)"
            raise Forbidden(register, page or 0, rule)
        self.pages.pop(entry, None)
        if page is not None:
            self.pages[entry] = page

    def switch(self, on: bool) -> None:
        """Turns the cache on or off; the CPU then sees the pages, or no flash at all."""
        self.on = on
        assert self._memories is not None
        while self._shown:
            self._memories.hide(*self._shown.pop())
        if not on:
            return
        origins = (self.flash.origin, *self.flash.aliases)
        for index, origin in enumerate(origins):
            # With one window for both buses it is open when both are; else data come first.
            shut = self.buses() & (3 if len(origins) == 1 else 2 >> index)
            for entry, page in {} if shut else self.pages.items():
                self._show(origin - _PAGE + entry * _PAGE, page)

    def _show(self, address: int, page: int) -> None:
        offset = (page - 1) * _PAGE
        size = min(_PAGE, self.flash.size - offset)
        if offset >= 0 and size > 0 and self._memories is not None:
            self._memories.show(self.flash.name, offset, size, address)
            self._shown.append((address, size))


@dataclass
class MmuTable(Peripheral):
    """The table of an ESP32-C3, entry by entry: bit 8 makes one invalid (ext_mem_defs.h)."""

    cache: FlashCache | None = None

    def write(self, offset: int, value: int) -> None:
        assert self.cache is not None
        self.cache.map(f"MMU_TABLE[{offset // 4}]", offset // 4, None if value & 1 << 8 else value & 0xFF)
        super().write(offset, value)


@dataclass
class SpiMem(Peripheral):
    """SPI0 of an ESP32-C6, where its table is written through a window: bit 9 makes an entry valid."""

    cache: FlashCache | None = None

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset == 0x384 and value >> 3 & 3:
            raise Forbidden("SPI_MEM_MMU_POWER_CTRL", value, "pages other than of 64 KiB are not modelled")
        if offset == 0x37C:
            assert self.cache is not None
            page = value & 0x1FF if value & 1 << 9 else None
            self.cache.map("SPI_MEM_MMU_ITEM_CONTENT", self.read(0x380) & 0xFF, page)


@dataclass
class Rom(Peripheral):
    """The functions of the boot ROM that the firmware calls: each is a few instructions that report here.

    Attributes:
        functions: address and what it does.
    """

    functions: tuple[tuple[int, RomFunction], ...] = ()

    cache: FlashCache | None = None

    def read(self, offset: int) -> int:
        arguments = [self.registers.get(_ROM_ARGUMENTS + 4 * i, 0) for i in range(4)]
        return self.functions[offset // 4][1](arguments)

    def connect(self, memories: Memories) -> None:
        """Writes the functions into the ROM: at each one's address, a jump to its code."""
        assert self.cache is not None
        self.cache.connect(memories)
        code = 0x4000_2000
        for index, (address, _) in enumerate(self.functions):
            memories.write(address, _jump(code - address))
            for word in self._report(index):
                memories.write(code, word.to_bytes(4, "little"))
                code += 4

    def _report(self, index: int) -> list[int]:
        """LUI t0, base; SW a0 to a3; LW a0, 4 * index(t0); RET."""
        stores = [_ROM_ARGUMENTS + 4 * i for i in range(4)]
        return [
            self.base | 0x2B7,
            *(at >> 5 << 25 | (10 + i) << 20 | 0x2A023 | (at & 31) << 7 for i, at in enumerate(stores)),
            index << 22 | 0x2A503,
            0x8067,
        ]


def _jump(distance: int) -> bytes:
    """JAL x0 (RISC-V unprivileged architecture, J-type)."""
    high, low = distance >> 20 & 1, distance >> 1 & 0x3FF
    word = high << 31 | low << 21 | (distance >> 11 & 1) << 20 | distance & 0xFF000 | 0x6F
    return word.to_bytes(4, "little")


def peripherals(board: Board, part: EspC3 | EspC6, clock: Callable[[], int]) -> tuple[list[Peripheral], Uart]:
    """Peripherals of a board with that part; `clock` gives cycles since reset."""
    flash = next(memory for memory in board.memories if "code" in memory.use)

    def seconds() -> float:
        return clock() / board.core_hz

    if isinstance(part, EspC3):
        return _esp32c3(board, FlashCache(flash), seconds, clock)
    return _esp32c6(board, FlashCache(flash), seconds)


def _timer_group(base: int, seconds: Callable[[], float]) -> Watchdogs:
    # timer_group_reg.h: at reset the flash boot mode (bit 14) runs, 26,000,000 ticks of APB's 80 MHz.
    dog = Watchdog("WDTCONFIG0", 0x48, 0x64, 1 << 31 | 1 << 14, 80e6, hold=0x50)
    return Watchdogs(
        "TIMG0", base, 0x1000, seconds=seconds, watchdogs=(dog,), registers={0x48: 1 << 14 | 9 << 15, 0x50: 26_000_000}
    )


def _esp32c3(
    board: Board, cache: FlashCache, seconds: Callable[[], float], clock: Callable[[], int]
) -> tuple[list[Peripheral], Uart]:
    assert board.uart is not None
    # rtc_cntl_reg.h: 200,000 ticks of the slow clock's 136 kHz (soc/clk_tree_defs.h). The super watchdog: about 1 s.
    dogs = (
        Watchdog("WDTCONFIG0", 0x90, 0xA8, 1 << 31 | 1 << 12, 136e3, hold=0x94),
        Watchdog("SWD_CONF", 0xAC, 0xB0, 0xFFFFFFFF, 1.0, 0x8F1D312A, stopped=3 << 30),
    )
    rtc = Watchdogs(
        "RTC_CNTL",
        0x60008000,
        0x800,
        seconds=seconds,
        watchdogs=dogs,
        registers={0x90: 1 << 12, 0x94: 200_000, 0xAC: 300 << 18},
    )
    timer = _timer_group(0x6001F000, seconds)
    system = System("SYSTEM", 0x600C0000, 0x1000, registers={0x08: 0xC, 0x1C: 1 << 6, 0x58: 1})
    extmem = Peripheral("EXTMEM", 0x600C4000, 0x1000, registers={0x04: 3})
    cache.buses = lambda: extmem.read(0x04)
    uart = EspUart(
        board.uart.instance,
        board.uart.base,
        0x1000,
        baud=board.uart.baud,
        core_hz=system.core_hz,
        registers={0x20: 0x1C | 1 << 28},
    )
    uart.clock_conf = lambda: uart.registers.get(0x78, 3 << 20)
    uart.watched = (rtc, timer)
    analog = c3_analog(rtc)
    system.pll = analog.pll
    functions = (*_cache_functions(cache, 0x4000051C, 0x40000520), *_bus_functions(analog.pll))
    rom = Rom("ROM", _ROM_CALLS, 0x1000, cache=cache, functions=functions)
    efuse = Peripheral("EFUSE", 0x60008800)
    mux = Peripheral("IO_MUX", 0x60009000, 0x1000)
    gpio = EspGpio("GPIO", 0x60004000, 0x1000, mux=mux)
    table = MmuTable("MMU", 0x600C5000, 0x200, cache=cache)
    sound = microphone_peripherals(board, system, gpio, mux, system.core_hz, clock)
    return [rtc, timer, system, extmem, table, uart, rom, gpio, mux, analog, efuse, *sound], uart


def _esp32c6(board: Board, cache: FlashCache, seconds: Callable[[], float]) -> tuple[list[Peripheral], Uart]:
    assert board.uart is not None
    # lp_wdt_reg.h, as in the C3's RTC_CNTL.
    dogs = (
        Watchdog("CONFIG0", 0x00, 0x18, 1 << 31 | 1 << 12, 136e3, hold=0x04),
        Watchdog("SWD_CONFIG", 0x1C, 0x20, 0xFFFFFFFF, 1.0, stopped=1 << 18 | 1 << 30),
    )
    low_power = Watchdogs(
        "LP_WDT",
        0x600B1C00,
        0x400,
        seconds=seconds,
        watchdogs=dogs,
        registers={0x00: 1 << 12, 0x04: 200_000, 0x1C: 300 << 20},
    )
    timer = _timer_group(0x60008000, seconds)
    pcr = Pcr(
        "PCR", 0x60096000, 0x1000, registers={0x04: 3 << 20 | 1 << 22, 0x1C: 3 << 8, 0x110: 2 << 8, 0x11C: 3 << 8}
    )
    extmem = Peripheral("EXTMEM", 0x600C8000, 0x1000, registers={0x04: 3})
    cache.buses = lambda: extmem.read(0x04)
    uart = EspUart(
        board.uart.instance,
        board.uart.base,
        0x1000,
        baud=board.uart.baud,
        core_hz=pcr.core_hz,
        update=0x98,
        registers={0x20: 0x1C | 1 << 20},
    )
    uart.clock_conf = lambda: pcr.read(0x04) if pcr.read(0x04) & 1 << 22 else 0
    uart.watched = (low_power, timer)
    rom = Rom("ROM", _ROM_CALLS, 0x1000, cache=cache, functions=_cache_functions(cache, 0x40000690, 0x40000694))
    mux = Peripheral("IO_MUX", 0x60090000, 0x1000)
    gpio = EspGpio("GPIO", 0x60091000, 0x1000, mux=mux)
    spi = SpiMem("SPI0", 0x60002000, 0x1000, cache=cache)
    analog, power = c6_analog(seconds)
    pcr.pll = analog.pll
    return [low_power, timer, pcr, extmem, spi, uart, rom, gpio, mux, *power], uart


def _cache_functions(cache: FlashCache, disable: int, enable: int) -> tuple[tuple[int, RomFunction], ...]:
    """Cache_Disable_ICache and Cache_Enable_ICache (esp-idf, esp_rom)."""

    def switch(on: bool) -> int:
        cache.switch(on)
        return 0

    return (disable, lambda _: switch(False)), (enable, lambda _: switch(True))


def _bus_functions(pll: Pll) -> tuple[tuple[int, RomFunction], ...]:
    """Read and write of a register of an ESP32-C3's analogue blocks (esp-idf, esp_rom_regi2c.h)."""

    def write(arguments: Sequence[int]) -> int:
        block, _, at, value = arguments
        pll.write(block & 0xFF, at & 0xFF, value & 0xFF)
        return 0

    return (0x40001954, lambda given: pll.read(given[0] & 0xFF, given[2] & 0xFF)), (0x4000195C, write)
