"""Boards as objects: the checked content of a YAML file in `boards/`.

A board file holds facts only (memories, clock, pins, what emulates it); every program that needs such a fact
reads it from the :class:`Board`, so that a fact is written down once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from tinygen.errors import BoardError


@dataclass(frozen=True)
class Memory:
    """One contiguous memory.

    Attributes:
        origin, size: bytes.
        kind: `flash` or `ram`.
        use: what the linker may place there by default: `code`, `constants`, `stack`, `data`; empty for nothing.
        aliases: other addresses at which the same bytes appear.
        wait_states: of the memory itself; None if they depend on the clock setting (flash).
    """

    name: str
    origin: int
    size: int
    kind: str
    use: tuple[str, ...] = ()
    aliases: tuple[int, ...] = ()
    wait_states: int | None = None

    @property
    def end(self) -> int:
        """First address after the memory."""
        return self.origin + self.size

    def contains(self, address: int) -> bool:
        """Whether `address` lies in the memory itself (not in an alias)."""
        return self.origin <= address < self.end


@dataclass(frozen=True)
class Pll:
    """Main PLL of an STM32: f = source / m * n / p; q feeds USB."""

    m: int
    n: int
    p: int
    q: int


@dataclass(frozen=True)
class Clock:
    """The clock tree at full speed. Frequencies in Hz.

    Attributes:
        ahb_div: from SYSCLK to the core.
        axi_div: from the core to the buses, where they are slower (STM32H7: HPRE); apb1_div and apb2_div come behind.
    """

    source: str
    source_hz: int
    sysclk_hz: int
    ahb_div: int = 1
    axi_div: int = 1
    apb1_div: int = 1
    apb2_div: int = 1
    flash_wait_states: int = 0
    bypass: bool = False
    fallback_hz: int = 0
    pll: Pll | None = None
    over_drive: bool = False
    voltage_scale: int = 0

    @property
    def hclk_hz(self) -> int:
        """Clock of the core, Hz."""
        return self.sysclk_hz // self.ahb_div


@dataclass(frozen=True)
class Pin:
    """A GPIO pin, e.g. PD8: port "D", number 8; port "" where pins are only numbered (ESP32's GPIO8)."""

    port: str
    number: int

    def __str__(self) -> str:
        return f"P{self.port}{self.number}" if self.port else f"GPIO{self.number}"


@dataclass(frozen=True)
class EnableBit:
    """The bit of a reset-and-clock-control register that lets a peripheral's clock through."""

    register: str
    bit: int


@dataclass(frozen=True)
class Uart:
    """The UART the application speaks on. `bus` is the one whose clock feeds it: ahb, apb1 or apb2."""

    instance: str
    base: int
    bus: str
    baud: int
    tx: Pin | None = None
    rx: Pin | None = None
    af: int = 0
    enable: EnableBit | None = None


@dataclass(frozen=True)
class I2sClock:
    """The source and dividers of an I2S bit clock.

    Attributes:
        source_hz: of an ESP: what `divider` divides; 0 on STM32, where `pll_n` and `pll_r` say.
        pll_n, pll_r: factors of an STM32's PLLI2S, which has its input from the main PLL's divider M.
        divider: whole part.
        numerator, denominator: of its fraction.
        bit_divider: divides once more.
    """

    divider: int
    source_hz: int = 0
    pll_n: int = 0
    pll_r: int = 0
    numerator: int = 0
    denominator: int = 1
    bit_divider: int = 1

    def bit_hz(self, clock: Clock | None) -> Fraction:
        """Frequency of the bit clock, Hz; the mean if the divider has a fraction.

        Args:
            clock: of the board.
        """
        source = Fraction(self.source_hz)
        if clock is not None and clock.pll is not None and self.pll_r:
            source = Fraction(clock.source_hz * self.pll_n, clock.pll.m * self.pll_r)
        return source / (self.divider + Fraction(self.numerator, self.denominator)) / self.bit_divider


@dataclass(frozen=True)
class Microphone:
    """A microphone with 24 bits in slots of 32 at the left channel of an I2S port that is the master.

    Attributes:
        instance, base, enable: of the port.
        ck, ws, sd, af: its pins.
        sample_rate_hz: wanted.
        clock: what gives it.
        gain_bits: the firmware takes the upper 16 bits of the code times 2 ** gain_bits.
    """

    instance: str
    base: int
    ck: Pin
    ws: Pin
    sd: Pin
    sample_rate_hz: int
    clock: I2sClock
    gain_bits: int = 0
    af: int = 0
    enable: EnableBit | None = None

    def rate_hz(self, clock: Clock | None) -> Fraction:
        """Frames per second that the board's clocks give; a frame is 64 bits."""
        return self.clock.bit_hz(clock) / 64


@dataclass(frozen=True)
class StreamPins:
    """Pins that MLPerf Tiny's streaming benchmark watches: one is high while a hop of sound is processed, one falls at
    each detection. The board's I2S port (`Microphone`) takes the sound, as a slave.
    """

    processing: Pin
    detection: Pin


@dataclass(frozen=True)
class Led:
    """A light; `role` is ready, busy or fault."""

    name: str
    pin: Pin
    role: str
    colour: str = ""


@dataclass(frozen=True)
class Usb:
    """Identity of the board's debug probe on USB."""

    vid: int
    pid: int


@dataclass(frozen=True)
class EspFlash:
    """esptool's name of the chip, and the offset of the image in SPI flash, where the ROM expects it."""

    chip: str
    address: int


@dataclass(frozen=True)
class Flashing:
    """How an image gets onto the board.

    Attributes:
        methods: names in `tinygen.targets.flashing`, in order of preference.
        openocd: script of the board, or of its chip (`target/...`), which is reached through an ST-LINK.
        pyocd: target name.
        volume: label of the drive that the debug probe shows.
        esptool: of an ESP32.
    """

    methods: tuple[str, ...] = ()
    openocd: str = ""
    pyocd: str = ""
    volume: str = ""
    esptool: EspFlash | None = None


@dataclass(frozen=True)
class PlatformIo:
    """PlatformIO's names for the board."""

    platform: str
    board: str


@dataclass(frozen=True)
class RunCurrent:
    """Supply current while computing, for predicted energy.

    Attributes:
        interval: its uncertainty as a fraction: 0.1 when measured on this board while it computed a network, 0.3 when
            from a datasheet or another board.
    """

    ma: float
    volts: float
    source: str
    interval: float = 0.3


MAX_LINES, MAX_REGIONS = 2048, 8
"""Limits of a cache that can be simulated."""


@dataclass(frozen=True)
class CacheTiming:
    """A cache, or the buffers of a flash interface, for cycle prediction.

    Attributes:
        size, line: bytes.
        ways: lines that may hold the same address.
        regions: (first address, address behind the last, cycles lost by a miss) of the memories behind it.
    """

    size: int
    line: int
    ways: int
    regions: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class MemoryTiming:
    """Memory stalls beyond the cycles of the core: caches for code and data; the same object if shared."""

    code: CacheTiming
    data: CacheTiming


@dataclass(frozen=True)
class EmulatorSpec:
    """How the board is emulated: `engine` is unicorn, qemu, native, or none if nothing emulates it.

    `labwired_chip` is the name of its chip in labwired, where that models it far enough.
    """

    engine: str
    cpu_model: str = ""
    qemu_machine: str = ""
    labwired_chip: str = ""
    peripherals: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZigTarget:
    """`-target` and `-mcpu` of `zig cc`."""

    target: str
    cpu: str


@dataclass(frozen=True)
class ToolchainFlags:
    """Compiler settings that select the core; both None for the host."""

    zig: ZigTarget | None = None
    gcc: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Board:
    """One board.

    Attributes:
        part: the chip (see `tinygen.targets.parts`), from which limits and register models follow; "" for the host and
            bare cores.
        timestamp: the pin whose falling edge marks the beginning and the end of a measurement, for power instruments.
        stream_pins: see there.
        path: the file it was read from.
    """

    name: str
    title: str
    part: str
    core: str
    isa: tuple[str, ...]
    memories: tuple[Memory, ...]
    clock: Clock | None
    uart: Uart | None
    microphone: Microphone | None
    leds: tuple[Led, ...]
    timestamp: Pin | None
    stream_pins: StreamPins | None
    usb: Usb | None
    flashing: Flashing
    platformio: PlatformIo | None
    run_current: RunCurrent | None
    timing: MemoryTiming | None
    stack_bytes: int
    emulator: EmulatorSpec
    sources: tuple[str, ...]
    include_dirs: tuple[str, ...]
    toolchain: ToolchainFlags
    path: Path = field(compare=False)

    @property
    def esp_chip(self) -> str:
        """Espressif's name of the chip, "" for others': esp32c3."""
        return self.core if self.core.startswith("esp32") and self.emulator.engine != "bare" else ""

    @property
    def is_project_only(self) -> bool:
        """Whether tinygen neither compiles for it nor emulates it: a build is then a project for the vendor's tools."""
        flags = self.toolchain
        return not self.is_host and flags.zig is None and flags.gcc is None

    @property
    def is_host(self) -> bool:
        """Whether the board is the computer that tinygen runs on."""
        return self.core == "host"

    def memory(self, name: str) -> Memory:
        """The memory called `name`.

        Raises:
            BoardError: there is none.
        """
        for memory in self.memories:
            if memory.name == name:
                return memory
        names = ", ".join(m.name for m in self.memories)
        raise BoardError(f"there is no memory {name}", where=str(self.path), fix=f"It has: {names}.")

    @cached_property
    def link_flash(self) -> Memory:
        """The flash that code and constants are linked into."""
        return self._link_region("flash", "code", "FLASH")

    @cached_property
    def link_ram(self) -> Memory:
        """The RAM for stack and data: the memory with the stack and those that follow it without a gap."""
        return self._link_region("ram", "stack", "RAM")

    def _link_region(self, kind: str, first_use: str, name: str) -> Memory:
        candidates = sorted((m for m in self.memories if m.kind == kind and m.use), key=lambda m: m.origin)
        first = next((m for m in candidates if first_use in m.use), None)
        if first is None:
            raise BoardError(
                f"no {kind} memory is for {first_use}",
                where=f"{self.path}: memories",
                fix=f"Give one of them `use: [{first_use}, ...]`.",
            )
        end = first.end
        for memory in candidates:
            if memory.origin == end:
                end = memory.end
        return Memory(name, first.origin, end - first.origin, kind, first.use, first.aliases)

    @property
    def flash_bytes(self) -> int:
        """Bytes of flash for code and constants; 0 on the host."""
        return 0 if self.is_host else self.link_flash.size

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM for stack, data and arena; 0 on the host."""
        return 0 if self.is_host else self.link_ram.size

    @property
    def core_hz(self) -> int:
        """Clock of the core at full speed, Hz; 0 where it is not ours to set (host)."""
        return self.clock.hclk_hz if self.clock else 0
